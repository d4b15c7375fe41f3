//! A server's front that speaks TLS with a certificate of its own and plain text behind: to be a TLS endpoint where the
//! server has none, or an impostor in the middle.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::certificates::Issued;
use super::{Fault, Result, runtime};

/// The longest head of a request.
const HEAD_BYTES: usize = 1 << 14;

/// What is spoken inside.
#[derive(Clone)]
pub(crate) enum Inside {
    /// Postgres: the client asks for TLS first.
    Postgres,
    /// The same, and TLS again behind, to a server with a certificate of this authority's (a file, PEM).
    Relay(PathBuf),
    /// HTTP, of which each connection's first request must carry this header line, in lower case up to the value.
    Http(Arc<Mutex<String>>),
}

/// Forwards connections from `from` to `to` until the test process ends.
pub(crate) fn start(from: SocketAddr, to: SocketAddr, issued: &Issued, inside: Inside) -> Result<()> {
    let certificates = CertificateDer::pem_file_iter(&issued.certificate)?.collect::<std::result::Result<_, _>>()?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(certificates, PrivateKeyDer::from_pem_file(&issued.key)?)?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let runtime = runtime()?;
    let listener = runtime.block_on(TcpListener::bind(from))?;
    runtime.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((client, _)) = listener.accept().await {
            let (acceptor, inside) = (acceptor.clone(), inside.clone());
            // A client that goes away, or is sent away, is no concern of the proxy's.
            connections.spawn(async move { drop(serve(client, to, &acceptor, &inside).await) });
        }
    });
    Ok(())
}

fn believing(authority: &Path) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority)?)?;
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    Ok(builder.with_safe_default_protocol_versions()?.with_root_certificates(roots).with_no_client_auth())
}

async fn serve(
    mut client: TcpStream,
    to: SocketAddr,
    acceptor: &TlsAcceptor,
    inside: &Inside,
) -> std::result::Result<(), Fault> {
    if let Inside::Postgres | Inside::Relay(_) = inside {
        client.read_exact(&mut [0; 8]).await?;
        client.write_all(b"S").await?;
    }
    let mut client = acceptor.accept(client).await?;
    let mut head = Vec::new();
    if let Inside::Http(wanted) = inside {
        while !head.ends_with(b"\r\n\r\n") && head.len() < HEAD_BYTES {
            head.push(client.read_u8().await?);
        }
        let wanted = wanted.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if !String::from_utf8_lossy(&head).contains(&format!("\r\n{wanted}\r\n")) {
            client.write_all(b"HTTP/1.1 401 x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await?;
            return Ok(client.shutdown().await?);
        }
    }
    let mut server = TcpStream::connect(to).await?;
    server.write_all(&head).await?;
    if let Inside::Relay(authority) = inside {
        server.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).await?;
        server.read_u8().await?;
        let name = ServerName::from(to.ip());
        let mut server = TlsConnector::from(Arc::new(believing(authority)?)).connect(name, server).await?;
        copy_bidirectional(&mut client, &mut server).await?;
    } else {
        copy_bidirectional(&mut client, &mut server).await?;
    }
    Ok(())
}
