//! What the fake HTTP servers of the tests have in common: a free port of the loopback, served until dropped.

use std::convert::Infallible;

use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

/// A running server; ends when dropped, its connections with it.
#[derive(Debug)]
pub struct Server {
    /// `host:port`.
    pub authority: String,
    accepting: JoinHandle<()>,
}

impl Server {
    /// Listens at a free port of the loopback and answers every request with what `answer` makes of it.
    ///
    /// # Panics
    /// The loopback has no free port.
    pub async fn start<A, F, B>(answer: A) -> Server
    where
        A: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response<B>> + Send + 'static,
        B: Body<Data: Send, Error: std::error::Error + Send + Sync> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("the loopback has a free port");
        let authority = listener.local_addr().expect("a bound listener has an address").to_string();
        let accepting = tokio::spawn(async move {
            // The connections live and die with this task.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let answer = answer.clone();
                connections.spawn(async move {
                    let service = service_fn(move |request| {
                        let answered = answer(request);
                        async move { Ok::<_, Infallible>(answered.await) }
                    });
                    // A client that goes away is no event here.
                    let _ = Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Server { authority, accepting }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
