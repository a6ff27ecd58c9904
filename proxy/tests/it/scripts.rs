//! What `scripts/up` reads of a configuration file is what the proxy reads there.

use std::collections::BTreeMap;
use std::process::Command;

use larder_proxy::config::{Config, Flags};
use tempfile::TempDir;

/// The strings of `listen` and `upstream` as the scripts see them.
fn as_the_scripts_read(file: &str) -> [String; 2] {
    let lib = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/lib.sh");
    ["listen", "upstream"].map(|key| {
        let output = Command::new("bash")
            .args(["-euc", r#". "$0"; toml_string "$1" "$2""#, lib, key, file])
            .output()
            .expect("bash");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_owned()
    })
}

#[test]
fn scripts_read_a_files_strings_as_the_proxy_does() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("larder.toml").display().to_string();
    let read_alike = |toml: &str, address: &str| {
        std::fs::write(&path, toml).unwrap();
        let flags = Flags::from([("config", path.clone())]);
        let config = Config::load(&flags, &BTreeMap::new()).expect(toml);
        assert_eq!(config.listen.to_string(), address, "{toml}");
        as_the_scripts_read(&path)
    };
    for toml in [
        "listen = \"127.0.0.1:9000\"\nupstream = \"http://api:3000\"\n",
        "listen = '127.0.0.1:9000'\nupstream='http://api:3000'\n",
        "\tlisten\t=\t'127.0.0.1:9000' # not \"0.0.0.0:1\"\n  upstream = \"http://api:3000\"# not '0.0.0.0:1'\n",
        "'listen' = '127.0.0.1:9000'\n# upstream = 'http://no:1'\n\"upstream\" = 'http://api:3000'\n[[route]]\npath = '/*'\n",
        "listen = '127.0.0.1:9000'\r\nupstream_host = 'no'\r\nupstream = 'http://api:3000'\r\n",
    ] {
        let read = read_alike(toml, "127.0.0.1:9000");
        assert_eq!(read, ["127.0.0.1:9000", "http://api:3000"], "{toml}");
    }
    let unsaid = "# listen = '127.0.0.1:9000'\n  [[route]]\npath = '/*'\n";
    assert_eq!(read_alike(unsaid, "127.0.0.1:8000"), ["", ""]);
}
