//! The shell of a native peer: one engine, and the threads that do what it asks for.
//!
//! Promise: the engine is touched by one thread alone, the loop of [`Shell`]; it waits for nothing but its inbox, and what it
//! asks for is done elsewhere: jobs of a share's index by the share's own thread, in their order; jobs of disks by a few
//! threads for all shares; bytes of connections by whoever owns the [`Outlet`]. What waits is bounded: the engine bounds its
//! jobs, and a [`Gate`] what comes over a connection.
//!
//! ```text
//!            ┌─────────── inbox ◄──────────┬──────────────┬───────────┐
//!            ▼                             │              │           │
//!   Shell: engine ── jobs of an index ► IndexThread       │           │
//!            │ ───── jobs of a disk ──► DiskPool ─────────┘           │
//!            └ ───── messages ────────► Outlet ► the other end ► Gate ┘
//! ```

mod disk_pool;
mod gate;
mod index_thread;
mod link;
mod meter;
pub mod node;
mod peers;
mod shell;
pub mod trackers;

pub use self::gate::{Gate, MESSAGES_WAITING_MAX};
pub use self::node::{AGENT, Node, NodeError};
pub use self::peers::Rendezvous;
pub use self::shell::{Connected, NewShare, Outlet, Shell, ShellError};
