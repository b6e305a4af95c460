//! Takes connections and serves them, each within limits, so that no client at one address keeps out those at others, whatever
//! it sends or doesn't send or doesn't read.
//!
//! What can't be opened is tried again and again: backups go on without it.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::middleware::from_fn_with_state;
use backstay_model::Result;
use backstay_model::settings::ApiSettings;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use rustix::process::{Resource, getrlimit};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_io_timeout::TimeoutStream;

use crate::app::App;
use crate::guard::{Peer, guard};
use crate::shares::Shares;
use crate::tls::Tls;
use crate::{Problem, feed, listen, v1};

/// So many connections at once, by the network and by the socket each, at most a quarter of the files that this process may
/// have open; more wait.
const MOST_CONNECTIONS: usize = 1_024;

/// How long a client may take to send the head of a request, and how long a connection may lie idle.
const HEAD: Duration = Duration::from_secs(20);

/// How long a client may go without taking what is sent to it.
const READS: Duration = Duration::from_secs(30);

/// Room for the head of a request, in bytes.
const HEAD_BYTES: usize = 32 << 10;

/// How many headers a request may have.
const HEADERS: usize = 64;

/// How long requests under way may take to their end when it stops.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// How soon it is tried again to listen where it wasn't possible.
const AGAIN: Duration = Duration::from_secs(2);

/// How long to wait when the system can't open another connection.
const BREATH: Duration = Duration::from_millis(100);

/// The interface, ready to be served.
#[derive(Debug)]
pub struct Server {
    app: Arc<App>,
    settings: ApiSettings,
    socket: Option<UnixListener>,
    network: Option<Network>,
    router: Router,
}

/// Where it listens on the network.
#[derive(Debug)]
struct Network {
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
}

impl Server {
    /// Listens on the socket in the data directory and where the settings say. Nobody gets an answer before [`Server::run`],
    /// which also tries again where it can't listen now.
    pub async fn open(app: Arc<App>, settings: &ApiSettings) -> Self {
        let socket = open_socket(&app).await;
        let network = open_network(settings).await;
        Server {
            socket: app.note(SOCKET, socket),
            network: app.note(NETWORK, network).flatten(),
            settings: settings.clone(),
            router: router(Arc::clone(&app)),
            app,
        }
    }

    /// Answers until `stop` is over, then lets requests under way end.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let graceful = GracefulShutdown::new();
        let Server {
            app,
            settings,
            socket,
            network,
            router,
        } = self;
        let by_socket = async {
            let socket = match socket {
                Some(socket) => socket,
                None => again(&app, SOCKET, || open_socket(&app)).await,
            };
            by_socket(&socket, &router, &graceful).await;
        };
        let by_network = async {
            let network = match network {
                None if !settings.listen.is_none() => again(&app, NETWORK, || open_network(&settings)).await,
                network => network,
            };
            let Some(Network { listener, tls }) = network else {
                return;
            };
            let follow = async {
                if let Some(tls) = &tls {
                    tls.follow().await;
                }
            };
            let by_network = by_network(&listener, tls.as_ref(), &router, &graceful);
            tokio::join!(by_network, follow);
        };
        // What it listens on is closed with it: nobody else gets in; who is in may end.
        tokio::select! {
            _ = async { tokio::join!(by_socket, by_network, feed::follow(Arc::clone(&app))) } => {}
            () = stop => {}
        }
        app.stopping.send_replace(true);
        if tokio::time::timeout(LAST_WORDS, graceful.shutdown())
            .await
            .is_err()
        {
            tracing::debug!("some clients were cut off");
        }
    }
}

/// Names of the ways in, for people.
const SOCKET: &str = "the socket";
const NETWORK: &str = "the network";

async fn open_socket(app: &App) -> Result<UnixListener> {
    listen::socket(app.engine.data_dir())
}

async fn open_network(settings: &ApiSettings) -> Result<Option<Network>> {
    let tls = settings.tls.as_ref().map(Tls::open).transpose()?.map(Arc::new);
    let Some(listener) = listen::network(settings).await? else {
        return Ok(None);
    };
    match listener.local_addr() {
        Ok(address) => tracing::info!("listening on {address}"),
        Err(error) => tracing::info!("listening, the system doesn't say where: {error}"),
    }
    Ok(Some(Network { listener, tls }))
}

/// Tries until it works.
async fn again<T, F: Future<Output = Result<T>>>(app: &App, way: &'static str, open: impl Fn() -> F) -> T {
    loop {
        tokio::time::sleep(AGAIN).await;
        if let Some(opened) = app.note(way, open().await) {
            return opened;
        }
    }
}

/// All routes, behind the guard.
fn router(app: Arc<App>) -> Router {
    let mut router = Router::new();
    for endpoint in v1::endpoints() {
        let (path, route) = endpoint.into_route(&app);
        router = router.route(path, route);
    }
    router
        .fallback(async || Problem::not_found("there is nothing at this address"))
        .method_not_allowed_fallback(async || {
            Problem::new(
                http::StatusCode::METHOD_NOT_ALLOWED,
                "method",
                "This can't be done to it",
                "there is something at this address, but the method of the request is none of its own",
            )
        })
        .layer(from_fn_with_state(Arc::clone(&app), guard))
        .with_state(app)
}

async fn by_socket(listener: &UnixListener, router: &Router, graceful: &GracefulShutdown) {
    let connections = Arc::new(Semaphore::new(most_connections()));
    while let Ok(permit) = Arc::clone(&connections).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => match listen::user_of(&stream) {
                Some(uid) => {
                    let peer = Peer::User(uid);
                    spawn(serve(stream, router.clone(), peer, graceful.watcher()), permit);
                }
                None => tracing::warn!("somebody tried to use the socket who may not"),
            },
            Err(error) => wait_a_little(&error).await,
        }
    }
}

async fn by_network(
    listener: &TcpListener,
    tls: Option<&Arc<Tls>>,
    router: &Router,
    graceful: &GracefulShutdown,
) {
    let connections = Arc::new(Semaphore::new(most_connections()));
    let shares = Shares::default();
    while let Ok(permit) = Arc::clone(&connections).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, address)) => {
                let Some(share) = shares.take(address.ip()) else {
                    tracing::debug!("too many connections come from {}", address.ip());
                    continue;
                };
                let (router, peer) = (router.clone(), Peer::Network(address));
                let (watcher, tls) = (graceful.watcher(), tls.cloned());
                let connection = async move {
                    let _share = share;
                    match tls {
                        None => serve(stream, router, peer, watcher).await,
                        Some(tls) => {
                            if let Some(stream) = tls.accept(stream).await {
                                serve(stream, router, peer, watcher).await;
                            }
                        }
                    }
                };
                spawn(connection, permit);
            }
            Err(error) => wait_a_little(&error).await,
        }
    }
}

fn most_connections() -> usize {
    let files = getrlimit(Resource::Nofile)
        .current
        .map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX));
    MOST_CONNECTIONS.min(files / 4).max(1)
}

fn spawn(connection: impl Future<Output = ()> + Send + 'static, permit: OwnedSemaphorePermit) {
    tokio::spawn(async move {
        connection.await;
        drop(permit);
    });
}

async fn wait_a_little(error: &std::io::Error) {
    tracing::warn!("a connection can't be taken: {error}");
    tokio::time::sleep(BREATH).await;
}

/// Serves one connection to its end. What goes wrong with it is its client's business.
async fn serve<S>(stream: S, router: Router, peer: Peer, watcher: Watcher)
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(READS));
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        router.call(request.map(Body::new))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEADERS)
        .serve_connection(TokioIo::new(Box::pin(stream)), service);
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!("a connection ended: {error}");
    }
}
