//! Tells the code which Python it is built for: free-threaded builds keep their objects otherwise.

fn main() {
    pyo3_build_config::use_pyo3_cfgs();
}
