//! Where the App's keys are kept: in files that only their owner can read, or in Secret Manager.

use std::path::{Path, PathBuf};
use std::time::Instant;

use declic_actions::google::Google;
use declic_actions::secret::Secret;

use crate::app;

/// Where.
#[derive(Debug, Clone)]
pub enum Keep {
    /// Files in a folder.
    Files {
        /// The folder.
        folder: PathBuf,
    },
    /// Secrets of a project.
    SecretManager {
        /// The project.
        project: String,
    },
}

impl Keep {
    /// The error says which argument is wrong.
    pub fn fits(&self) -> Result<(), String> {
        match self {
            Self::Files { .. } => Ok(()),
            Self::SecretManager { project } => {
                let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-.:".contains(&byte);
                let fits = !project.is_empty() && project.bytes().all(plain);
                if fits { Ok(()) } else { Err(format!("`{project}` is not the id of a project")) }
            }
        }
    }

    /// Before anything is made at GitHub: a folder that cannot be written would lose the keys.
    pub fn prepare(&self) -> Result<(), String> {
        let Self::Files { folder } = self else { return Ok(()) };
        let failed = |error: std::io::Error| format!("{} cannot be written: {error}", folder.display());
        // Only the folder itself is ours to close.
        let mut made = std::fs::DirBuilder::new();
        made.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut made, 0o700);
        made.create(folder).map_err(failed)?;
        for name in [KEY, HOOK] {
            let path = folder.join(name);
            if path.exists() {
                return Err(format!("{} is there already: remove it, or name another folder with --keys", path.display()));
            }
        }
        let probe = folder.join(".declic-probe");
        std::fs::write(&probe, b"").and_then(|()| std::fs::remove_file(&probe)).map_err(failed)
    }

    /// Keeps both. Answers how the settings refer to them.
    pub async fn keep(
        &self,
        slug: &str,
        key: &Secret,
        hook: &Secret,
        google: Option<&Google>,
        deadline: Instant,
    ) -> Result<(String, String), String> {
        match (self, google) {
            (Self::Files { folder }, _) => Ok((file(folder, KEY, key)?, file(folder, HOOK, hook)?)),
            (Self::SecretManager { project }, Some(google)) => {
                let made = async |what: &str, value: &Secret| {
                    let name = format!("{slug}-{what}");
                    let name = google.create_secret(project, &name, value, deadline).await;
                    name.map(|name| format!("{{ from: gcp-secret, name: {name} }}"))
                        .map_err(|failure| failure.why().message.clone())
                };
                Ok((made("key", key).await?, made("webhook-secret", hook).await?))
            }
            (Self::SecretManager { .. }, None) => Err("there are no credentials for Google".to_owned()),
        }
    }
}

const KEY: &str = "github-app.pem";
const HOOK: &str = "github-webhook-secret";

fn file(folder: &Path, name: &str, secret: &Secret) -> Result<String, String> {
    let path = folder.join(name);
    app::write_privately(&path, secret.expose()).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(format!("{{ from: file, path: {} }}", path.display()))
}
