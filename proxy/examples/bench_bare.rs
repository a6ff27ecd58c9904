//! The floor that `scripts/bench http` compares caches with: what does tokio alone take to answer a request?
//!
//! Each request is parsed, and answered with the same bytes, those of a file: the whole answer, head and body. Nothing is
//! looked up, no clock is read, nothing is counted. Requests that came together are answered together.
//!
//!     bench_bare ADDRESS FILE [THREADS]

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A connection's buffer; a request must fit in it.
const INPUT_BYTES: usize = 4096;
/// Fields of a request.
const FIELDS_MAX: usize = 64;
/// So many answers to pipelined requests go out in one write.
const BATCH_MAX: usize = 32;
/// Answers larger than this are written one by one rather than copied together.
const BATCHED_BYTES_MAX: usize = 16 * 1024;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: bench_bare ADDRESS FILE [THREADS]";
    let address = arguments.next().context(usage)?;
    let answer = std::fs::read(arguments.next().context(usage)?)?;
    let threads = arguments.next().map_or(Ok(1), |count| count.parse())?;
    // It lives as long as the process, and a reference costs no counting.
    let answers = Answers::new(answer);
    let answers: &'static Answers = Box::leak(Box::new(answers));
    runtime(threads)?.block_on(async move { tokio::spawn(accept(address, answers)).await? })
}

/// One thread needs no queues that others can steal from.
fn runtime(threads: usize) -> std::io::Result<tokio::runtime::Runtime> {
    if threads == 1 {
        return tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build();
    }
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_io()
        .build()
}

/// The answer many times in a row, so that any number of them is one slice.
struct Answers {
    repeated: Vec<u8>,
    one_bytes: usize,
}

impl Answers {
    fn new(answer: Vec<u8>) -> Self {
        let one_bytes = answer.len();
        let times = if one_bytes > BATCHED_BYTES_MAX {
            1
        } else {
            BATCH_MAX
        };
        Self {
            repeated: answer.repeat(times),
            one_bytes,
        }
    }

    async fn write(&self, socket: &mut TcpStream, mut count: usize) -> std::io::Result<()> {
        while count > 0 {
            let bytes = self.repeated.len().min(count * self.one_bytes);
            socket.write_all(&self.repeated[..bytes]).await?;
            count -= bytes / self.one_bytes;
        }
        Ok(())
    }
}

async fn accept(address: String, answers: &'static Answers) -> anyhow::Result<()> {
    let listener = TcpListener::bind(&address).await?;
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        tokio::spawn(converse(socket, answers));
    }
}

async fn converse(mut socket: TcpStream, answers: &Answers) -> std::io::Result<()> {
    let mut input = vec![0; INPUT_BYTES];
    let mut filled = 0;
    loop {
        let read = socket.read(&mut input[filled..]).await?;
        if read == 0 {
            return Ok(());
        }
        filled += read;
        let (requests, bytes) = count(&input[..filled])?;
        answers.write(&mut socket, requests).await?;
        input.copy_within(bytes..filled, 0);
        filled -= bytes;
    }
}

/// How many complete requests there are, and how many bytes they take.
fn count(input: &[u8]) -> std::io::Result<(usize, usize)> {
    let (mut requests, mut bytes) = (0, 0);
    while bytes < input.len() {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut request = httparse::Request::new(&mut fields);
        match request.parse(&input[bytes..]) {
            Ok(httparse::Status::Complete(length)) => {
                requests += 1;
                bytes += length;
            }
            Ok(httparse::Status::Partial) => break,
            Err(error) => {
                return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, error));
            }
        }
    }
    Ok((requests, bytes))
}
