//! Event streams over one connection of HTTP/2.

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use h2::RecvStream;
use h2::client::SendRequest;
use http::Request;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Listening, SUBSCRIBED, find};
use crate::clients::target;

/// Opens a stream for each of these subscriptions; the connection ends with the last of them.
pub(super) async fn open<S>(
    socket: S,
    scheme: &str,
    wanted: &[String],
) -> anyhow::Result<Vec<Listening>>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let (mut sender, connection) = h2::client::handshake(socket).await?;
    tokio::task::spawn_local(async move {
        // The streams see that it has ended.
        drop(connection.await);
    });
    let mut streams = Vec::new();
    for wanted in wanted {
        sender = sender.ready().await?;
        let uri = format!("{scheme}://localhost{}", target("sse", wanted));
        streams.push(ask(&mut sender, &uri)?);
    }
    let mut listening: Vec<Listening> = Vec::new();
    for stream in streams {
        let mut stream = subscribed(stream).await?;
        listening.push(Box::pin(async move {
            while matches!(read(&mut stream).await, Ok(Some(_))) {}
        }));
    }
    Ok(listening)
}

fn ask(sender: &mut SendRequest<Bytes>, uri: &str) -> anyhow::Result<h2::client::ResponseFuture> {
    let request = Request::get(uri).body(())?;
    let (response, _) = sender.send_request(request, true)?;
    Ok(response)
}

/// Reads until the subscriptions are in force.
async fn subscribed(response: h2::client::ResponseFuture) -> anyhow::Result<RecvStream> {
    let response = response.await?;
    ensure!(response.status() == 200, "refused: {}", response.status());
    let mut stream = response.into_body();
    let mut answer = Vec::new();
    while find(&answer, SUBSCRIBED).is_none() {
        answer.extend(read(&mut stream).await?.context("the stream has ended")?);
    }
    Ok(stream)
}

async fn read(stream: &mut RecvStream) -> Result<Option<Bytes>, h2::Error> {
    let Some(bytes) = stream.data().await.transpose()? else {
        return Ok(None);
    };
    stream.flow_control().release_capacity(bytes.len())?;
    Ok(Some(bytes))
}
