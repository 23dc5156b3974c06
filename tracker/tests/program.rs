//! The program itself: its first line, its exit codes, and what it says when it cannot start.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

/// A tracker as a process of its own, ended with the test.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracker"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ENXAME_")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Starts it, and gives its first line.
fn start(command: &mut Command) -> (Program, String) {
    let mut program = Program(command.spawn().unwrap());
    let mut line = String::new();
    BufReader::new(program.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (program, line)
}

/// Runs it to its end, and gives its exit code and what it said.
fn fail(command: &mut Command) -> (Option<i32>, String) {
    let output = command.output().unwrap();
    assert!(output.stdout.is_empty(), "standard output is for the address");
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn the_first_line_is_the_address_of_the_page() {
    let (_program, line) = start(command().args(["--listen", "127.0.0.1:0"]));
    let port: u16 = line
        .strip_prefix("http://localhost:")
        .and_then(|rest| rest.strip_suffix("/\n"))
        .and_then(|port| port.parse().ok())
        .unwrap_or_else(|| panic!("not an address: {line:?}"));
    std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
}

#[test]
fn every_flag_has_a_variable() {
    let page = tempfile::tempdir().unwrap();
    let log = page.path().join("tracker.log");
    let (program, line) = start(
        command()
            .env("ENXAME_LISTEN", "127.0.0.1:0")
            .env("ENXAME_PAGE", page.path())
            .env("ENXAME_LOG_FILE", &log)
            .env("ENXAME_LOG", "debug")
            .env("ENXAME_ICE_SERVERS", "stun:127.0.0.1:3478"),
    );
    assert!(line.starts_with("http://localhost:"), "{line:?}");
    drop(program);
    assert!(log.exists());
}

#[test]
fn a_port_in_use_is_said_in_one_sentence_with_a_way_out() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let (code, said) = fail(command().args(["--listen", &address.to_string()]));
    assert_eq!(code, Some(1));
    assert!(said.contains(&format!("port {} is in use", address.port())), "{said}");
    assert!(said.contains("--listen 127.0.0.1:"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn a_page_folder_that_is_not_there_is_named() {
    let (code, said) = fail(command().args(["--listen", "127.0.0.1:0", "--page", "no-such-folder"]));
    assert_eq!(code, Some(1));
    assert!(said.contains("no-such-folder"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn a_level_that_is_none_is_named() {
    let (code, said) = fail(command().args(["--listen", "127.0.0.1:0", "--log", "tracker=loud"]));
    assert_eq!(code, Some(1));
    assert!(said.contains("--log tracker=loud"), "{said}");
}

#[test]
fn ice_servers_that_are_none_are_named_with_what_is_wrong() {
    for (list, said_of_it) in [
        ("stun.example.org:3478", "\"stun.example.org:3478\" is no ICE server's address: it begins neither"),
        ("stun:a,turn:t.example", "\"turn:t.example\" needs a user name and a credential"),
        ("[{]", "not a JSON list of ICE servers"),
    ] {
        for by_variable in [false, true] {
            let mut program = command();
            program.args(["--listen", "127.0.0.1:0"]);
            if by_variable {
                program.env("ENXAME_ICE_SERVERS", list);
            } else {
                program.args(["--ice-servers", list]);
            }
            let (code, said) = fail(&mut program);
            assert_eq!(code, Some(1));
            assert!(said.contains("--ice-servers") && said.contains(said_of_it), "{said}");
            assert_eq!(said.lines().count(), 1, "{said}");
        }
    }
}

#[test]
fn an_address_where_nodes_cannot_meet_is_refused_without_its_password() {
    for url in
        ["http://10.0.0.5", "10.0.0.5:6379", "redis://:hunter2@host:port", "rediss://:hunter2@host:port"]
    {
        let (code, said) = fail(command().args(["--check-config", "--cluster", url]));
        assert_eq!(code, Some(1));
        assert!(said.contains("`--cluster` cannot be used") && said.contains("redis://10.0.0.5"), "{said}");
        assert!(!said.contains("hunter2") && said.lines().count() == 1, "{said}");
    }
    let good = ["--check-config", "--cluster", "redis://10.0.0.5", "--cluster-heartbeat", "1s"];
    assert!(command().args(good).output().unwrap().status.success());
    let (_, said) = fail(command().args(["--check-config", "--cluster-heartbeat", "0s"]));
    assert!(said.contains("--cluster-heartbeat"), "{said}");
}

#[test]
fn what_a_node_is_told_of_itself_and_of_who_vouches_for_redis_is_checked_before_it_starts() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (good, bad) = (file("ca.pem", &made.cert.pem()), file("words.txt", "not a certificate"));
    let missing = folder.path().join("missing.pem").display().to_string();
    let cluster = ["--check-config", "--cluster", "rediss://10.0.0.5"];
    for (flag, value, said_of_it) in [
        ("--public-url", "http://node1.example.org", "`--public-url` cannot be used"),
        ("--public-url", "node1.example.org", "wss://node1.example.org/ws"),
        ("--cluster-ca", &missing, "missing.pem cannot be read"),
        ("--cluster-ca", &bad, "there is no certificate"),
    ] {
        let (code, said) = fail(command().args(cluster).args([flag, value]));
        assert_eq!(code, Some(1));
        assert!(said.contains(said_of_it) && said.lines().count() == 1, "{said}");
    }
    let (code, said) =
        fail(command().args(["--check-config", "--cluster", "redis://10.0.0.5", "--cluster-ca", &good]));
    assert!(code == Some(1) && said.contains("`--cluster` cannot be used"), "no TLS there: {said}");
    for flag in [["--public-url", "wss://node1.example.org/ws"], ["--cluster-ca", &good]] {
        let (code, said) = fail(command().arg("--check-config").args(flag));
        assert_eq!(code, Some(1));
        assert!(said.contains(flag[0]) && said.contains("it needs `--cluster`"), "{said}");
        let output = command().args(cluster).args(flag).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn credentials_in_the_environment_are_not_shown_by_the_help() {
    let json = r#"[{"urls": "turn:t.example", "username": "u", "credential": "hunter2"}]"#;
    let output = command().env("ENXAME_ICE_SERVERS", json).arg("--help").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    assert!(
        help.contains("--ice-servers") && help.contains("ENXAME_ICE_SERVERS") && !help.contains("hunter2"),
        "{help}"
    );
}

#[test]
fn a_list_of_ice_servers_may_be_empty() {
    for list in ["", "none", "[]"] {
        let (_program, line) = start(command().args(["--listen", "127.0.0.1:0", "--ice-servers", list]));
        assert!(line.starts_with("http://localhost:"), "{list:?}: {line:?}");
    }
}

#[test]
fn without_a_page_it_starts_and_says_how_to_build_one() {
    let empty = tempfile::tempdir().unwrap();
    let (mut program, line) = start(command().args(["--listen", "127.0.0.1:0", "--page"]).arg(empty.path()));
    assert!(line.starts_with("http://localhost:"), "{line:?}");
    let mut said = String::new();
    BufReader::new(program.0.stderr.take().unwrap()).read_line(&mut said).unwrap();
    assert!(said.contains("cargo xtask run") && said.contains("trunk build"), "{said}");
}

#[cfg(unix)]
#[test]
fn ctrl_c_and_a_request_to_end_are_obeyed_with_exit_code_zero() {
    for signal in ["INT", "TERM"] {
        let log = tempfile::tempdir().unwrap();
        let file = log.path().join("log");
        let (mut program, _) = start(command().args(["--listen", "127.0.0.1:0", "--log-file"]).arg(&file));
        let id = program.0.id().to_string();
        assert!(Command::new("kill").args([&format!("-{signal}"), &id]).status().unwrap().success());
        assert_eq!(program.0.wait().unwrap().code(), Some(0), "{signal}");
        let mut logged = String::new();
        std::fs::File::open(file).unwrap().read_to_string(&mut logged).unwrap();
        assert!(logged.contains("listening") && logged.contains("shutting down"), "{logged}");
    }
}

/// A file with this content, in a folder that is removed with it.
fn config(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tracker.toml");
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

#[test]
fn a_variable_goes_before_the_file_and_a_flag_before_both() {
    let (_folder, path) = config("listen = \"127.0.0.1:1\"\nlog = \"warn\"\nlog-keep = 3\n");
    let check = |command: &mut Command| {
        let output = command.arg("--check-config").arg("--config").arg(&path).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let said = check(&mut command());
    assert!(said.starts_with("The configuration can be used.\n"), "{said}");
    assert!(said.contains("listen: by a file") && said.contains("log: by a file"), "{said}");
    let said = check(
        command().env("ENXAME_LISTEN", "127.0.0.1:2").env("ENXAME_LOG", "info").args(["--log", "error"]),
    );
    assert!(said.contains("listen: by a variable") && said.contains("log: by a flag"), "{said}");
    assert!(said.contains("log-keep: by a file"), "{said}");

    // And so it starts: port 1 of the file could not be opened here.
    let (_program, line) = start(command().args(["--listen", "127.0.0.1:0", "--config"]).arg(&path));
    assert!(line.starts_with("http://localhost:"), "{line:?}");
    let (_folder, path) = config("listen = \"127.0.0.1:0\"\nice-servers = [\"stun:a\", \"stun:b\"]\n");
    let (_program, line) = start(command().env("ENXAME_CONFIG", &path));
    assert!(line.starts_with("http://localhost:"), "{line:?}");
}

#[test]
fn a_file_that_cannot_be_used_is_refused_in_one_sentence() {
    for (text, said_of_it) in [
        ("lisen = \"127.0.0.1:0\"\n", "there is no setting `lisen` (did you mean `listen`?)"),
        ("check-config = true\n", "there is no setting `check-config`"),
        ("\nlisten = \n", "tracker.toml, line 2: "),
        ("listen = \"nowhere\"\n", "tracker.toml: invalid value 'nowhere' for '--listen <ADDR:PORT>'"),
        ("ping-interval = \"soon\"\n", "this is no duration"),
        ("ping-interval = 0\n", "`--ping-interval` must be longer"),
        ("max-relay-rate = 0\n", "`--max-relay-rate` must be more than nothing"),
        ("max-message-burst = 0\n", "0 is not in 1.."),
        ("log-keep = 0\n", "invalid value '0' for '--log-keep"),
        ("proxy-header = \"via\"\n", "it is x-forwarded-for or forwarded"),
        ("[listen]\nport = 1\n", "`listen` is a section"),
        ("ice-servers = [{ urls = \"turn:t.example\" }]\n", "needs a user name and a credential"),
        ("log = \"tracker=loud\"\n", "--log tracker=loud"),
    ] {
        let (_folder, path) = config(text);
        let (code, said) = fail(command().args(["--check-config", "--config"]).arg(&path));
        assert_eq!(code, Some(1), "{text}: {said}");
        assert!(said.contains(said_of_it), "{text}: {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    let (code, said) = fail(command().args(["--config", "no-such-file.toml"]));
    assert_eq!(code, Some(1));
    assert!(said.contains("no-such-file.toml cannot be read"), "{said}");
}

#[test]
fn the_help_has_examples() {
    let output = command().arg("--help").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    assert!(help.contains("Examples:") && help.contains("--check-config"), "{help}");
}

#[test]
fn the_log_is_json_if_that_is_asked_for_and_new_files_have_their_date() {
    let folder = tempfile::tempdir().unwrap();
    let (program, _) = start(
        command()
            .args([
                "--listen",
                "127.0.0.1:0",
                "--log-format",
                "json",
                "--log-rotation",
                "daily",
                "--log-file",
            ])
            .arg(folder.path().join("tracker.log")),
    );
    // The first line is written before the address is told.
    drop(program);
    let file = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap();
    assert!(file.file_name().to_str().unwrap().starts_with("tracker.log."), "{file:?}");
    let logged = std::fs::read_to_string(file.path()).unwrap();
    assert!(logged.contains("\"listening\""), "{logged}");
    for line in logged.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(line["level"].is_string() && line["message"].is_string(), "{line}");
    }
}
