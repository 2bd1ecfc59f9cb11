//! The metrics over HTTP: `/metrics` for Prometheus, `/` for people.
//!
//! Promise: it shows figures only, reads nothing but the head of a request, answers one request per
//! connection, and is bounded in connections and time like everything else here.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::rc::Rc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::spawn_local;
use tokio::time::timeout;

use crate::limits::{PAGE_CONNECTIONS_MAX, PAGE_REQUEST_BYTES_MAX, PAGE_WAIT};
use crate::seats::Seats;
use crate::server::{Shared, accept};

/// Serves the page until it is dropped.
pub(crate) async fn serve(listener: TcpListener, shared: Rc<Shared>) {
    let seats = Seats::new(PAGE_CONNECTIONS_MAX, PAGE_CONNECTIONS_MAX);
    loop {
        let (stream, from) = accept(&listener, &seats, &shared).await;
        if let Ok(seat) = seats.take(from.ip()) {
            let shared = Rc::clone(&shared);
            spawn_local(async move {
                let _seat = seat;
                converse(stream, &shared).await;
            });
        }
    }
}

async fn converse(stream: TcpStream, shared: &Rc<Shared>) {
    let answer = service_fn(|request| async move { Ok::<_, Infallible>(answer(&request, shared)) });
    let connection = hyper::server::conn::http1::Builder::new()
        .keep_alive(false)
        .timer(TokioTimer::new())
        .header_read_timeout(PAGE_WAIT)
        .max_buf_size(PAGE_REQUEST_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), answer);
    match timeout(PAGE_WAIT, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "metrics request refused"),
        Err(_) => tracing::debug!("metrics request took too long"),
    }
}

fn answer<B>(request: &Request<B>, shared: &Shared) -> Response<Full<Bytes>> {
    let is_known = matches!(request.uri().path(), "/" | "/metrics");
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    match request.uri().path() {
        _ if is_known && !is_read => {
            let mut refused = respond(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD\n".into());
            refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            refused
        }
        "/metrics" => respond(StatusCode::OK, PROMETHEUS, shared.metrics.prometheus(&shared.moment())),
        "/" => respond(StatusCode::OK, HTML, html(&shared.metrics.rows(&shared.moment()))),
        _ => respond(StatusCode::NOT_FOUND, TEXT, "there are / and /metrics\n".into()),
    }
}

const TEXT: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

fn respond(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    let policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; \
                  frame-ancestors 'none'";
    for (name, value) in [
        (CONTENT_TYPE, kind),
        (CONTENT_SECURITY_POLICY, policy),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// The page for people. It holds our own words and numbers only, none of which need escaping.
fn html(rows: &[(&'static str, u64)]) -> String {
    let mut page = String::from(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"refresh\" content=\"5\">\n<title>Shoal tracker</title>\n\
         <style>body{font:1rem/1.5 sans-serif;margin:2rem}th{text-align:left;font-weight:normal;\
         padding-right:2rem}td{text-align:right;font-variant-numeric:tabular-nums}</style>\n\
         </head>\n<body>\n<h1>Shoal tracker</h1>\n<table>\n",
    );
    for (words, figure) in rows {
        // Writing to a string does not fail.
        let _ = writeln!(page, "<tr><th scope=\"row\">{words}</th><td>{figure}</td></tr>");
    }
    page.push_str("</table>\n</body>\n</html>\n");
    page
}
