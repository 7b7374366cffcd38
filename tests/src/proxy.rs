//! A way to a server that can be made slow, or cut, or on which things change.

use std::fmt;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

/// Passes bytes on to a server, each piece after a pause that a test sets.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    way: Arc<Way>,
}

type Cuts = Box<dyn Fn(&[u8]) -> bool + Send + Sync>;
type Changes = Box<dyn Fn(&mut [u8]) + Send + Sync>;

struct Way {
    server: SocketAddr,
    cuts: OnceLock<Cuts>,
    changes: OnceLock<Changes>,
    delay_millis: AtomicU64,
    closed: AtomicBool,
    streams: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// Listens on a port of its own.
    pub fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let way = Arc::new(Way {
            server,
            cuts: OnceLock::new(),
            changes: OnceLock::new(),
            delay_millis: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            streams: Mutex::default(),
        });
        let accepting = Arc::clone(&way);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if accepting.closed.load(Ordering::Acquire) {
                    return;
                }
                accepting.connect(client);
            }
        });
        Self { address, way }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets every answer of the server wait this long from now on.
    pub fn delay(&self, delay: Duration) {
        let millis = u64::try_from(delay.as_millis()).expect("a delay of a test");
        self.way.delay_millis.store(millis, Ordering::Release);
    }

    /// Cuts a connection after some pieces of a client have reached the server, so that the answer to them is not heard. Said once.
    pub fn cut_after(&self, cuts: impl Fn(&[u8]) -> bool + Send + Sync + 'static) {
        assert!(self.way.cuts.set(Box::new(cuts)).is_ok(), "said before");
    }

    /// Changes what clients say on the way to the server, a piece at a time: short words at the beginning of what is sent are in one.
    /// Said once.
    pub fn change(&self, changes: impl Fn(&mut [u8]) + Send + Sync + 'static) {
        assert!(self.way.changes.set(Box::new(changes)).is_ok(), "said before");
    }

    /// Cuts the connections there are; new ones may be made.
    pub fn cut(&self) {
        for stream in self.way.streams.lock().expect("no panic").drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Way").field("server", &self.server).finish_non_exhaustive()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.way.closed.store(true, Ordering::Release);
        self.cut();
        // Wakes the one who accepts.
        let _ = TcpStream::connect(self.address);
    }
}

impl Way {
    /// A client whose server is not there is turned away.
    fn connect(self: &Arc<Self>, client: TcpStream) {
        let Ok(server) = TcpStream::connect(self.server) else { return };
        let mut streams = self.streams.lock().expect("no panic");
        let mut pass = |from: &TcpStream, to: &TcpStream, slow: bool| {
            let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) else { return };
            streams.extend(from.try_clone());
            let way = Arc::clone(self);
            thread::spawn(move || way.pass(from, to, slow));
        };
        pass(&client, &server, false);
        pass(&server, &client, true);
    }

    fn pass(&self, mut from: TcpStream, mut to: TcpStream, slow: bool) {
        let mut piece = [0; 16 * 1024];
        while let Ok(read @ 1..) = from.read(&mut piece) {
            if let (false, Some(changes)) = (slow, self.changes.get()) {
                changes(&mut piece[..read]);
            }
            if slow {
                thread::sleep(Duration::from_millis(self.delay_millis.load(Ordering::Acquire)));
            }
            let cuts = !slow && self.cuts.get().is_some_and(|cuts| cuts(&piece[..read]));
            if cuts {
                // The client first: the server may be quick.
                let _ = from.shutdown(Shutdown::Both);
            }
            if to.write_all(&piece[..read]).is_err() || cuts {
                break;
            }
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }
}
