//! A browser that runs kernels. It loads a page from a server in the test, posts the result of each launch to it, and gets the next
//! launch in reply.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Child;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use crate::chromium::chromium;

const PAGE: &str = include_str!("page.html");
/// How long a launch may take, its compilation included.
const PATIENCE: Duration = Duration::from_secs(300);

/// A message between test and page: JSON, and the contents of buffers.
pub struct Message {
    pub head: Value,
    pub buffers: Vec<u8>,
}

impl Message {
    fn bytes(&self) -> Vec<u8> {
        let head = self.head.to_string();
        [&(head.len() as u32).to_le_bytes(), head.as_bytes(), &self.buffers].concat()
    }

    fn parse(bytes: &[u8]) -> Message {
        let (length, rest) = bytes.split_first_chunk().expect("the page's message begins with a length");
        let (head, buffers) = rest.split_at(u32::from_le_bytes(*length) as usize);
        Message { head: serde_json::from_slice(head).unwrap(), buffers: buffers.to_vec() }
    }
}

/// Chromium with the page open, on the software adapter that it brings.
pub struct Browser {
    process: Child,
    log: PathBuf,
    /// The browser's profile.
    _folder: tempfile::TempDir,
    launches: Sender<Message>,
    outcomes: Receiver<Message>,
}

impl Browser {
    /// Starts it. The first message says what the device is.
    pub fn start() -> (Browser, Value) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (launches, next) = channel();
        let (done, outcomes) = channel();
        let next = Arc::new(Mutex::new(next));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (next, done) = (next.clone(), done.clone());
                // A browser opens connections ahead of need: none may keep the others waiting.
                std::thread::spawn(move || serve(stream?, &next, &done));
            }
        });
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let said = || std::fs::File::options().create(true).append(true).open(&log).unwrap();
        let mut command = chromium(folder.path());
        command.args([
            "--enable-unsafe-webgpu",
            "--use-webgpu-adapter=swiftshader",
            "--disable-gpu-watchdog",
        ]);
        // A driver chosen for the tests of devices is not the browser's.
        command.env_remove("VK_DRIVER_FILES").env_remove("VK_INSTANCE_LAYERS");
        let process = command.arg(format!("http://{address}/")).stdout(said()).stderr(said()).spawn();
        let browser = Browser { process: process.unwrap(), log, _folder: folder, launches, outcomes };
        let about = browser.outcome().head;
        assert!(about["errors"].is_null(), "{about}\n{}", browser.said());
        (browser, about)
    }

    /// Has the page run a launch.
    pub fn run(&self, launch: Message) -> Message {
        self.launches.send(launch).expect("the server's threads live as long as the test");
        self.outcome()
    }

    fn outcome(&self) -> Message {
        match self.outcomes.recv_timeout(PATIENCE) {
            Ok(message) => message,
            Err(RecvTimeoutError::Timeout) => panic!("no answer in {PATIENCE:?}: {}", self.said()),
            Err(RecvTimeoutError::Disconnected) => unreachable!("the listening thread has no end"),
        }
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let ended = self.process.kill().and_then(|()| self.process.wait());
        drop(ended); // it may have ended by itself
    }
}

/// Answers the requests of a connection until the browser or the test ends.
fn serve(
    stream: TcpStream,
    launches: &Mutex<Receiver<Message>>,
    outcomes: &Sender<Message>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(&stream);
    loop {
        let mut request = String::new();
        if reader.read_line(&mut request)? == 0 {
            return Ok(());
        }
        let mut length = 0;
        loop {
            let mut header = String::new();
            reader.read_line(&mut header)?;
            match header.trim().split_once(':') {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.trim().parse().expect("a browser sends a number");
                }
                Some(_) => {}
                None => break,
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let (status, kind, reply) = match request.split(' ').take(2).collect::<Vec<_>>()[..] {
            ["GET", "/"] => ("200 OK", "text/html", PAGE.as_bytes().to_vec()),
            ["POST", "/"] => {
                let sent = outcomes.send(Message::parse(&body)).is_ok();
                let next = launches.lock().expect("no thread panics with it").recv();
                match next {
                    Ok(launch) if sent => ("200 OK", "application/octet-stream", launch.bytes()),
                    _ => return Ok(()), // the test has ended
                }
            }
            _ => ("404 Not Found", "text/plain", Vec::new()),
        };
        let head =
            format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n", reply.len());
        (&stream).write_all(&[head.as_bytes(), &reply].concat())?;
    }
}
