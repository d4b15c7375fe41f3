//! HTTP for operators: `/metrics` (Prometheus), `/livez`, `/readyz` (progress, not process life), and the commands of
//! `walwright snapshot`, which only this host may give.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use tokio::net::TcpListener;

use crate::error::{Error, Kind, Result};
use crate::pipeline::{Command, Metrics, Report, Roster};

/// What the HTTP side reads.
pub struct Admin {
    /// All metrics.
    pub metrics: Arc<Metrics>,
    /// The connectors that run.
    pub roster: Roster,
}

/// A bound listener, so that a port in use is an error of the start.
pub struct Server {
    listener: TcpListener,
    router: Router,
}

impl Server {
    /// Binds `listen` (`127.0.0.1:9848`; port 0 picks a free one).
    pub async fn bind(listen: &str, admin: Admin) -> Result<Server> {
        let listener = TcpListener::bind(listen).await.map_err(|error| {
            Error::new(Kind::Configuration, format!("[admin] listen: cannot bind {listen}")).because(error)
        })?;
        let router = Router::new()
            .route("/metrics", get(metrics))
            .route("/livez", get(|| async { "ok\n" }))
            .route("/readyz", get(ready))
            .route("/readyz/{connector}", get(ready_one))
            .route("/connectors/{connector}/snapshots", get(snapshots).post(command))
            .with_state(Arc::new(admin));
        Ok(Server { listener, router })
    }

    /// The address that it listens on.
    pub fn address(&self) -> Result<SocketAddr> {
        self.listener
            .local_addr()
            .map_err(|error| Error::new(Kind::Bug, "a bound socket has no address").because(error))
    }

    /// Serves until the future is dropped.
    pub async fn serve(self) -> std::io::Result<()> {
        axum::serve(self.listener, self.router.into_make_service_with_connect_info::<SocketAddr>()).await
    }
}

async fn metrics(State(admin): State<Arc<Admin>>) -> Response {
    let members = admin.roster.members();
    for (name, member) in &members {
        member.metrics.refresh();
        admin.metrics.health(name, &member.health.report());
        admin.metrics.snapshots(name, &member.snapshots());
    }
    match admin.metrics.text(|name| members.contains_key(name)) {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn ready(State(admin): State<Arc<Admin>>) -> Response {
    let members = admin.roster.members();
    let reports: BTreeMap<&str, Report> =
        members.iter().map(|(name, member)| (name.as_str(), member.health.report())).collect();
    let all = reports.values().all(|report| report.ready);
    (status(all), Json(reports)).into_response()
}

async fn ready_one(State(admin): State<Arc<Admin>>, Path(name): Path<String>) -> Response {
    match admin.roster.members().get(&name) {
        Some(member) => {
            let report = member.health.report();
            (status(report.ready), Json(report)).into_response()
        }
        None => no_connector(&name),
    }
}

async fn snapshots(State(admin): State<Arc<Admin>>, Path(name): Path<String>) -> Response {
    match admin.roster.members().get(&name) {
        Some(member) => Json(member.snapshots()).into_response(),
        None => no_connector(&name),
    }
}

/// Whoever can connect may look; what costs the database work is for those on this host (`kubectl exec`, `docker exec`). A
/// page in a browser cannot send JSON to another origin without being allowed to.
async fn command(
    State(admin): State<Arc<Admin>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Path(name): Path<String>,
    Json(command): Json<Command>,
) -> Response {
    if !peer.ip().to_canonical().is_loopback() {
        return (StatusCode::FORBIDDEN, "commands are taken from this host only\n").into_response();
    }
    let Some(member) = admin.roster.members().remove(&name) else { return no_connector(&name) };
    match tokio::task::spawn_blocking(move || member.command(command)).await {
        Ok(Ok(tables)) => Json(tables).into_response(),
        Ok(Err(cause)) => (StatusCode::CONFLICT, cause + "\n").into_response(),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "the command panicked\n").into_response(),
    }
}

fn no_connector(name: &str) -> Response {
    (StatusCode::NOT_FOUND, format!("no connector {name}\n")).into_response()
}

fn status(ready: bool) -> StatusCode {
    if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}
