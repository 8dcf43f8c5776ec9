//! Both ends of a pipe, and the bell.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

use super::*;

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

struct Parts {
    shard: ShardEnd,
    client: ClientEnd,
    bell: Arc<Bell>,
    woken: Arc<Count>,
    waker: Waker,
    _poll: mio::Poll,
}

impl Parts {
    fn new() -> Self {
        let poll = mio::Poll::new().unwrap();
        let waker = mio::Waker::new(poll.registry(), mio::Token(0)).unwrap();
        let bell = Arc::new(Bell::new(waker));
        let (shard, client) = pipe();
        shard.belongs_to(Arc::clone(&bell), ID);
        let woken = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&woken));
        Self {
            shard,
            client,
            bell,
            woken,
            waker,
            _poll: poll,
        }
    }

    fn take(&mut self) -> Poll<Option<Result<Bytes, Aborted>>> {
        self.client.poll_take(&mut Context::from_waker(&self.waker))
    }

    fn room(&mut self) -> Poll<Result<usize, Aborted>> {
        self.client.poll_room(&mut Context::from_waker(&self.waker))
    }

    fn wakes(&self) -> usize {
        self.woken.0.swap(0, Ordering::SeqCst)
    }

    fn announced(&self) -> usize {
        let moved = self.bell.answer();
        assert!(moved.iter().all(|id| *id == ID));
        self.shard.look();
        moved.len()
    }
}

const ID: ConnectionId = ConnectionId {
    shard: 0,
    slot: 7,
    generation: 1,
};

fn write(shard: &ShardEnd, parts: &[&[u8]]) -> io::Result<usize> {
    let slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
    shard.write_vectored(&slices)
}

#[test]
fn bytes_arrive_in_order_and_wake_whoever_waits_once() {
    let mut parts = Parts::new();
    assert!(parts.take().is_pending());
    assert_eq!(write(&parts.shard, &[b"ab", b"", b"cd"]).unwrap(), 4);
    assert_eq!(write(&parts.shard, &[b"e"]).unwrap(), 1);
    assert_eq!(parts.wakes(), 1);
    assert_eq!(
        parts.take(),
        Poll::Ready(Some(Ok(Bytes::from_static(b"abcde"))))
    );
    assert!(parts.take().is_pending());
    assert_eq!(parts.announced(), 0, "the shard was not blocked");
}

#[test]
fn a_full_pipe_blocks_the_shard_and_tells_it_once_when_there_is_room() {
    let mut parts = Parts::new();
    let much = vec![b'x'; TO_CLIENT_BYTES - 1];
    assert_eq!(write(&parts.shard, &[&much]).unwrap(), much.len());
    assert_eq!(write(&parts.shard, &[b"yz"]).unwrap(), 1);
    let full = write(&parts.shard, &[b"z"]).unwrap_err();
    assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
    assert_eq!(parts.announced(), 0);
    assert!(parts.take().is_ready());
    parts.client.give(b"!");
    assert_eq!(parts.announced(), 1);
    assert_eq!(write(&parts.shard, &[b"z"]).unwrap(), 1);
    assert!(parts.take().is_ready());
    assert_eq!(parts.announced(), 0);
}

#[test]
fn what_the_client_sends_is_read_and_its_end_is_a_read_of_nothing() {
    let mut parts = Parts::new();
    let mut buffer = [0; 4];
    let nothing = parts.shard.read(&mut buffer).unwrap_err();
    assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
    parts.client.give(b"hello");
    parts.client.end();
    assert_eq!(parts.announced(), 1);
    assert_eq!(parts.shard.read(&mut buffer).unwrap(), 4);
    assert_eq!(&buffer, b"hell");
    assert_eq!(parts.shard.read(&mut buffer).unwrap(), 1);
    assert_eq!(parts.shard.read(&mut buffer).unwrap(), 0);
}

#[test]
fn a_client_that_sends_too_much_waits_for_the_shard() {
    let mut parts = Parts::new();
    assert_eq!(parts.room(), Poll::Ready(Ok(TO_SHARD_BYTES)));
    parts.client.give(&vec![b'x'; TO_SHARD_BYTES]);
    assert!(parts.room().is_pending());
    let mut buffer = [0; 1024];
    assert_eq!(parts.shard.read(&mut buffer).unwrap(), 1024);
    assert_eq!(parts.wakes(), 1);
    assert_eq!(parts.room(), Poll::Ready(Ok(1024)));
}

#[test]
fn an_orderly_end_comes_after_all_bytes_even_when_the_shard_is_gone() {
    let parts = Parts::new();
    write(&parts.shard, &[b"last"]).unwrap();
    parts.shard.shutdown();
    let Parts {
        shard,
        mut client,
        waker,
        ..
    } = parts;
    drop(shard);
    let mut context = Context::from_waker(&waker);
    assert!(client.is_unwatched());
    assert_eq!(
        client.poll_take(&mut context),
        Poll::Ready(Some(Ok(Bytes::from_static(b"last"))))
    );
    assert_eq!(client.poll_take(&mut context), Poll::Ready(None));
}

#[test]
fn a_shard_that_gives_up_leaves_nothing_to_take() {
    let mut parts = Parts::new();
    assert!(parts.take().is_pending());
    write(&parts.shard, &[b"half"]).unwrap();
    let Parts {
        shard,
        mut client,
        waker,
        woken,
        ..
    } = parts;
    drop(shard);
    let mut context = Context::from_waker(&waker);
    assert_eq!(woken.0.load(Ordering::SeqCst), 1);
    assert_eq!(
        client.poll_take(&mut context),
        Poll::Ready(Some(Err(Aborted)))
    );
    assert_eq!(client.poll_room(&mut context), Poll::Ready(Err(Aborted)));
}

#[test]
fn a_task_that_ends_ends_the_connection() {
    let Parts {
        shard,
        client,
        bell,
        _poll,
        ..
    } = Parts::new();
    drop(client);
    assert_eq!(bell.answer(), [ID]);
    let broken = write(&shard, &[b"x"]).unwrap_err();
    assert_eq!(broken.kind(), io::ErrorKind::BrokenPipe);
    assert_eq!(shard.read(&mut [0; 4]).unwrap(), 0);
}

#[test]
fn what_moved_before_a_shard_had_the_connection_is_told_then() {
    let poll = mio::Poll::new().unwrap();
    let bell = Arc::new(Bell::new(
        mio::Waker::new(poll.registry(), mio::Token(0)).unwrap(),
    ));
    let (shard, mut client) = pipe();
    client.give(b"early");
    shard.belongs_to(Arc::clone(&bell), ID);
    assert_eq!(bell.answer(), [ID]);
}
