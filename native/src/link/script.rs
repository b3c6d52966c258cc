//! Script: a Lua script, and the name under which a server remembers it.

use redis::Cmd;

/// A script, sent by its SHA-1 and in full only where the server does not know it.
#[derive(Clone, Debug)]
pub struct Script {
    text: &'static str,
    sha: String,
}

impl Script {
    /// The script that `text` is.
    pub fn new(text: &'static str) -> Self {
        Self { text, sha: redis::Script::new(text).get_hash().to_owned() }
    }

    /// The script itself.
    pub fn text(&self) -> &'static str {
        self.text
    }

    /// Its SHA-1, in hexadecimal.
    pub fn sha(&self) -> &str {
        &self.sha
    }

    /// `EVALSHA`: a server that does not know the script answers `NOSCRIPT`.
    pub fn by_sha<K: AsRef<[u8]>, A: AsRef<[u8]>>(&self, keys: &[K], args: &[A]) -> Cmd {
        call("EVALSHA", &self.sha, keys, args)
    }

    /// `EVAL`: the server knows the script from then on.
    pub fn in_full<K: AsRef<[u8]>, A: AsRef<[u8]>>(&self, keys: &[K], args: &[A]) -> Cmd {
        call("EVAL", self.text, keys, args)
    }
}

fn call<K: AsRef<[u8]>, A: AsRef<[u8]>>(name: &str, script: &str, keys: &[K], args: &[A]) -> Cmd {
    let mut command = redis::cmd(name);
    command.arg(script).arg(keys.len());
    for key in keys {
        command.arg(key.as_ref());
    }
    for arg in args {
        command.arg(arg.as_ref());
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_called_with_its_keys_counted() {
        let script = Script::new("return 1");
        assert_eq!(script.sha(), "e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
        let packed = script.by_sha(&["k"], &["a", "b"]).get_packed_command();
        let text = String::from_utf8(packed).unwrap();
        assert!(text.starts_with("*6\r\n$7\r\nEVALSHA\r\n$40\r\ne0e1"), "{text}");
        assert!(text.ends_with("$1\r\n1\r\n$1\r\nk\r\n$1\r\na\r\n$1\r\nb\r\n"), "{text}");
    }
}
