//! The extension module `donjon._donjon`: converts values and errors between Python and the core, and decides nothing.

#[cfg(unix)]
mod aio;
mod clock;
mod core;
mod errors;
mod fork;
mod hub;
mod lease;
mod locks;
mod names;
mod notices;
#[cfg(unix)]
mod place;
mod sentinel;
mod settings;
#[cfg(unix)]
mod shared;
mod terms;
mod text;
mod value;
mod waiting;
mod wake;

use pyo3::prelude::*;

#[pymodule(gil_used = false)]
mod _donjon {
    use pyo3::prelude::*;

    #[pymodule_export]
    use super::clock::ManualClock;
    #[pymodule_export]
    use super::core::Core;
    #[pymodule_export]
    use super::hub::{Hub, Subscription};
    #[pymodule_export]
    use super::lease::{Join, Lease};
    #[pymodule_export]
    use super::locks::Locks;
    #[pymodule_export]
    use super::names::{Template, check_key, check_tags, glob_escape, glob_matches, key, parse_ttl, pattern};
    #[pymodule_export]
    use super::settings::{Settings, parse_settings};
    #[cfg(unix)]
    #[pymodule_export]
    use super::shared::{Failed, RemoteHub, RemoteLease, RemoteLocks, RemoteSubscription, Shared};
    #[pymodule_export]
    use super::value::{Failure, Unproven, Value};
    #[pymodule_export]
    use super::waiting::Waiting;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        super::fork::count(module.py())?;
        super::notices::listen();
        module.add("MISS", super::sentinel::miss(module.py()))?;
        module.add("ANY", super::sentinel::any(module.py()))
    }
}
