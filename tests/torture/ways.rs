//! The ways from the daemon to its servers, each through a proxy. Who watches and judges goes past them.

use serde::Serialize;

use crate::support::Result;
use crate::support::oms::site::Launch;
use crate::support::proxy::{Proxy, Side};
use crate::support::stack::Stack;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) enum Server {
    Postgres,
    Kafka,
    Registry,
}

impl Server {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Kafka => "kafka",
            Self::Registry => "registry",
        }
    }
}

/// Whose words are held up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sides {
    Both,
    One(Side),
}

pub(super) struct Ways {
    postgres: Proxy,
    kafka: Proxy,
    registry: Proxy,
}

impl Ways {
    /// `stack` has one broker, with a front.
    pub(super) fn start(stack: &Stack) -> Result<Self> {
        let mut front = stack.kafka.front()?;
        Ok(Self {
            postgres: Proxy::start(stack.sandbox.port()?, stack.postgres.address())?,
            kafka: front.proxies.pop().ok_or("the broker has no proxy")?,
            registry: Proxy::start(stack.sandbox.port()?, stack.registry.address())?,
        })
    }

    /// Daemons go these ways.
    pub(super) fn lead(&self, stack: &Stack, launch: &mut Launch) {
        let (postgres, registry) = (self.postgres.address(), self.registry.address().to_string());
        launch.set("OMS_HOST", &postgres.ip().to_string());
        launch.set("OMS_PORT", &postgres.port().to_string());
        launch.set("WALWRIGHT_KAFKA__BROKERS", &self.kafka.address().to_string());
        let url = stack.registry.url().replace(&stack.registry.address().to_string(), &registry);
        launch.set("WALWRIGHT_REGISTRY__URL", &url);
    }

    pub(super) fn to(&self, server: Server) -> &Proxy {
        match server {
            Server::Postgres => &self.postgres,
            Server::Kafka => &self.kafka,
            Server::Registry => &self.registry,
        }
    }

    pub(super) fn hold(&self, server: Server, sides: Sides) {
        match sides {
            Sides::Both => self.to(server).hold(),
            Sides::One(side) => self.to(server).hold_from(side),
        }
    }
}
