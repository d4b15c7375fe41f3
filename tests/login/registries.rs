//! The registry behind HTTPS and a login. The registry is the real one; TLS and login are those of a front before it, as
//! where an ingress has them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::tls::throwaway;
use crate::support::Result;
use crate::support::scene::{Scene, WITHIN};
use crate::support::stack::Stack;
use crate::support::tls_proxy::{self, Inside};

/// A front that asks for a header.
pub(super) struct Front {
    pub(super) url: String,
    pub(super) authority: PathBuf,
    wanted: Arc<Mutex<String>>,
}

impl Front {
    pub(super) fn start(name: &str, wanted: &str) -> Result<Self> {
        let stack = Stack::shared()?;
        let (authority, address) = (throwaway(name)?, stack.sandbox.port()?);
        let issued = authority.issue(&format!("IP:{}", address.ip()))?;
        let behind: SocketAddr = stack.registry.url().split('/').nth(2).unwrap_or_default().parse()?;
        let wanted = Arc::new(Mutex::new(wanted.to_owned()));
        tls_proxy::start(address, behind, &issued, Inside::Http(Arc::clone(&wanted)))?;
        let url = stack.registry.url().replace(&format!("http://{behind}"), &format!("https://{address}"));
        Ok(Self { url, authority: authority.certificate(), wanted })
    }

    fn want(&self, header: &str) {
        header.clone_into(&mut self.wanted.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The scene's files lead to the front, with these keys.
    pub(super) fn before(&self, scene: &Scene, keys: &str) -> Result<()> {
        let (direct, ca) = (Stack::shared()?.registry.url(), &self.authority);
        scene.process(&format!("url = {direct:?}"), &format!("url = {:?}\ntls_ca = {ca:?}\n{keys}", self.url))
    }
}

/// Faults: REG-04.
#[test]
fn a_user_with_a_password_that_changes() -> Result<()> {
    // wal:p@ss
    let front = Front::start("registry_basic", "authorization: Basic d2FsOnBAc3M=")?;
    let scene = Scene::new("registry_basic")?;
    front.before(&scene, "user = \"wal\"\npassword = { file = \"registry_password\" }")?;
    scene.write("registry_password", "p@ss\n")?;
    let mut daemon = scene.open()?;
    daemon.kill_hard()?;

    // wal:rotated
    front.want("authorization: Basic d2FsOnJvdGF0ZWQ=");
    let mut daemon = scene.launch()?;
    assert_eq!(
        scene.cause(&mut daemon, "registry-authorization", "retrying")?,
        "registry-authorization: looking up the schema of subject NAME.orders-shop.OrderPlaced: the registry refused the \
         credentials (401) (connector NAME, contract shop/OrderPlaced/v1)"
    );
    scene.write("registry_password", "rotated")?;
    daemon.wait_ready(WITHIN)?;
    scene.insert(1, 2)?;
    scene.read("orders", 2)?;
    scene.finish(daemon)
}

#[test]
fn a_bearer_of_a_token() -> Result<()> {
    let front = Front::start("registry_bearer", "authorization: Bearer t0ken")?;
    let scene = Scene::new("registry_bearer")?;
    front.before(&scene, "token = { file = \"token\" }")?;
    scene.write("token", "stolen")?;
    let told = scene.complaint(&["schemas", "push"], 1)?;
    assert!(told.contains("the registry refused the credentials (401)") && !told.contains("stolen"), "{told}");
    scene.write("token", "t0ken\n")?;
    let daemon = scene.open()?;
    scene.insert(1, 2)?;
    scene.read("orders", 2)?;
    scene.finish(daemon)
}

#[test]
fn a_registry_of_another_authority_is_not_believed() -> Result<()> {
    let front = Front::start("registry_stranger", "")?;
    let scene = Scene::new("registry_stranger")?;
    scene.push()?;
    front.before(&scene, "")?;
    let stranger = throwaway("not_the_registrys")?.certificate();
    scene.process(&format!("tls_ca = {:?}", front.authority), &format!("tls_ca = {stranger:?}"))?;
    let mut daemon = scene.launch()?;
    let cause = scene.cause(&mut daemon, "registry-unreachable", "retrying")?;
    assert!(cause.contains("invalid peer certificate: UnknownIssuer"), "{cause}");

    // The file is read again at each attempt.
    std::fs::copy(&front.authority, &stranger)?;
    front.want("host: ");
    Ok(())
}

#[test]
fn a_login_is_not_part_of_the_url() -> Result<()> {
    let scene = Scene::new("registry_url")?;
    scene.process("url = \"http://", "url = \"http://me:hunter2@")?;
    let told = scene.complaint(&["check"], 2)?;
    assert!(told.contains("registry.url: it must not have user and password in it: they are `user` and `password` (or `token`), by reference"), "{told}");
    assert!(!told.contains("hunter2"), "{told}");
    Ok(())
}

#[test]
fn a_login_is_whole_and_by_reference() -> Result<()> {
    let scene = Scene::new("registry_keys")?;
    scene.process("[log]", "# the end of [registry]\n[log]")?;
    let text = std::fs::read_to_string(scene.folder.join("walwright.toml"))?;
    for (keys, told) in [
        ("user = \"me\"", "registry: has either `user` and `password`, or `token`"),
        ("token = { file = \"t\" }\nuser = \"me\"\npassword = { file = \"p\" }", "registry: has either"),
        ("password = \"hunter2\"\nuser = \"me\"", "registry.password: a secret does not stand in this file"),
        ("token = \"hunter2\"", "registry.token: a secret does not stand in this file"),
    ] {
        scene.write("walwright.toml", &text.replace("# the end of [registry]", keys))?;
        let said = scene.complaint(&["check"], 2)?;
        assert!(said.contains(told) && !said.contains("hunter2"), "{said}");
    }
    Ok(())
}
