//! nginx as a reverse proxy in front of the small backend, for comparison.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

/// How long it may take to listen.
const PATIENCE: Duration = Duration::from_secs(5);

/// A running nginx; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Nginx {
    address: SocketAddr,
    master: Child,
}

impl Nginx {
    /// Starts the program with two workers, which keep their connections to the backend; its files are in `dir`.
    pub(crate) fn start(program: &Path, dir: &Path, backend: SocketAddr) -> anyhow::Result<Self> {
        // Free when it is asked for; nobody else takes ports here.
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let config = dir.join("nginx.conf");
        std::fs::write(&config, text(dir, address, backend))?;
        let master = Command::new(program)
            .arg("-c")
            .arg(&config)
            .arg("-p")
            .arg(dir)
            .stderr(Stdio::inherit())
            .spawn()
            .with_context(|| program.display().to_string())?;
        let nginx = Self { address, master };
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() {
            if Instant::now() > deadline {
                bail!("nginx does not listen after {PATIENCE:?}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(nginx)
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the ids of its workers.
    pub(crate) fn workers(&self) -> anyhow::Result<Vec<u32>> {
        let master = self.master.id();
        let children = std::fs::read_to_string(format!("/proc/{master}/task/{master}/children"))?;
        let ids = children.split_whitespace().map(str::parse);
        Ok(ids.collect::<Result<_, _>>()?)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // A signal to end, which the master passes on to its workers; killed, it would leave them behind.
        let id = self.master.id().to_string();
        let told = Command::new("kill").arg(&id).status();
        if !told.is_ok_and(|status| status.success()) {
            eprintln!("nginx ({id}) could not be told to end");
            return;
        }
        if let Err(error) = self.master.wait() {
            eprintln!("nginx ({id}) did not end: {error}");
        }
    }
}

fn text(dir: &Path, address: SocketAddr, backend: SocketAddr) -> String {
    let dir = dir.display();
    format!(
        "daemon off; worker_processes 2; pid {dir}/nginx.pid; error_log {dir}/nginx.log;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000;
  client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fastcgi;
  uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
  upstream backend {{ server {backend}; keepalive 512; keepalive_requests 1000000000; }}
  server {{
    listen {address};
    location / {{
      proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection \"\";
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    }}
  }}
}}
"
    )
}
