//! Paths in the settings that lead nowhere, as far as the machine that checks can tell.

use std::path::Path;

use super::read::Reader;
use crate::rules::yaml::{Entry, Node};

impl Reader<'_> {
    /// Warns of paths relative to the settings that lead nowhere: most often typing mistakes. An absolute path belongs to the machine
    /// that serves, and checks run elsewhere, too.
    pub fn places(&mut self, tree: &Node) {
        let within = |section: &str, key: &str| tree.get(section).and_then(|section| section.value.get(key));
        if let Some((entry, path)) = relative(within("store", "sqlite")) {
            let folder = self.folder.join(path);
            let folder = folder.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            if !folder.is_dir() {
                let message = format!("there is no folder {} for the store", folder.display());
                let help = format!("mkdir -p {}", folder.display());
                self.faults.warning("path", entry.value.span.clone(), message, Some(help));
            }
        }
        self.file("the key file", within("google", "credentials"));
        let secrets = tree.get("secrets").and_then(|secrets| secrets.value.entries()).unwrap_or(&[]);
        for secret in secrets {
            let from = secret.value.get("from").and_then(|from| from.value.scalar());
            if from.is_some_and(|from| from.text == "file") {
                self.file(&format!("the file of the secret `{}`", secret.key), secret.value.get("path"));
            }
        }
    }

    fn file(&mut self, what: &str, entry: Option<&Entry>) {
        let Some((entry, path)) = relative(entry) else { return };
        let path = self.folder.join(path);
        if !path.is_file() {
            let message = format!("{what}, {}, is not there", path.display());
            let help = "`declic serve` needs it; paths are relative to the folder of the settings".to_owned();
            self.faults.warning("path", entry.value.span.clone(), message, Some(help));
        }
    }
}

fn relative(entry: Option<&Entry>) -> Option<(&Entry, &Path)> {
    let entry = entry?;
    let path = Path::new(entry.value.scalar()?.text.as_str());
    (path.is_relative() && !path.as_os_str().is_empty()).then_some((entry, path))
}
