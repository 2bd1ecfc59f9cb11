//! A connection at work: what the engine says goes into frames, what comes in frames goes to the engine.
//!
//! Promise: each direction is bounded (I30): what comes waits at the [`Gate`], and the engine gives no more than it is told
//! has gone. A frame that is no message ends the connection, and nothing else.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use shoal_disk::Buffers;
use shoal_engine::io::Conn;
use shoal_net::{Incoming, Outgoing, Secured};
use shoal_proto::frame::RequestId;
use shoal_proto::limits::FRAME_BODY_BYTES_MAX;
use shoal_proto::message::Message;

use super::gate::Gate;
use super::meter::Traffic;
use super::shell::{Connected, Outlet, Shell};

/// The engine's end of what is said.
struct Wire {
    outgoing: Outgoing,
    traffic: Arc<Traffic>,
    buffers: Buffers,
}

impl Outlet for Wire {
    fn send(&mut self, request: RequestId, message: Message) {
        match message.into_frame(request) {
            Ok((head, content)) => {
                self.traffic.outward.add(head.len() + content.len());
                self.outgoing.push(head);
                if !content.is_empty() {
                    self.outgoing.push(Bytes::from_owner(self.buffers.lend(content)));
                }
            }
            // The engine makes none that is too large; who hears half of what is said hears nothing.
            Err(error) => {
                tracing::error!("a message cannot be sent, and ends the connection: {error}");
                self.outgoing.end();
            }
        }
    }
}

impl Drop for Wire {
    /// The engine has said all.
    fn drop(&mut self) {
        self.outgoing.close();
    }
}

/// Serves a connection until it is over. `stands` is told once the engine knows of it, and given what ends it.
pub(super) async fn serve(
    shell: Arc<Shell>,
    conn: Conn,
    secured: Secured,
    traffic: Arc<Traffic>,
    stands: impl FnOnce(Outgoing),
) {
    let (device, side, exporter, seen) = (secured.device, secured.side, secured.exporter, secured.seen);
    let (incoming, outgoing) = secured.split();
    let gate = Arc::new(Gate::default());
    outgoing.when_drained({
        // Whoever sends does not keep the shell alive.
        let shell: Weak<Shell> = Arc::downgrade(&shell);
        move || {
            if let Some(shell) = shell.upgrade() {
                shell.drained(conn);
            }
        }
    });
    let (wire, buffers) = (outgoing.clone(), shell.buffers());
    let outlet = Box::new(Wire { outgoing: wire, traffic: Arc::clone(&traffic), buffers });
    shell.connect(conn, Connected { device, side, exporter, outlet, gate: Arc::clone(&gate) });
    stands(outgoing.clone());
    if let Err(why) = hear(&shell, conn, &gate, &traffic, incoming).await {
        tracing::debug!("the connection with {} at {seen} is over: {why}", device.short());
        outgoing.end();
    }
    shell.disconnected(conn);
}

/// Hands what comes to the engine, until nothing comes any more.
async fn hear(
    shell: &Shell,
    conn: Conn,
    gate: &Gate,
    traffic: &Traffic,
    mut incoming: Incoming,
) -> Result<(), String> {
    loop {
        let frame = incoming.next().await.map_err(|error| error.to_string())?;
        let Some(frame) = frame else { return Ok(()) };
        traffic.inward.add(frame.body.len());
        let request = frame.request;
        let Some(message) = Message::read(&frame).map_err(|error| error.to_string())? else { continue };
        if matches!(message, Message::Shares(_)) {
            // The last word of a greeting.
            incoming.allow(FRAME_BODY_BYTES_MAX);
        }
        if !gate.passes().await {
            return Err("it is not heard any more".to_owned());
        }
        shell.received(conn, request, message);
    }
}
