//! `declic connect github`: makes a GitHub App by its manifest flow and keeps its keys, so that nobody copies them by hand.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use super::{USAGE, WRONG, block_on, complain};
use crate::connect::{self, Keep, Plan};
use crate::settings::{self, Environment, Mode, Settings};

/// Arguments of `declic connect`.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Make a GitHub App for this service and keep its keys
    ///
    /// A page on this machine leads to GitHub with everything filled in; GitHub leads back with a code, which is exchanged for the App's keys.
    #[command(after_help = "Examples:
  declic connect github --public-url https://declic.example.com
  declic connect github --public-url https://declic.example.com --organization acme
  declic connect github --public-url https://declic.example.com --github-url https://github.example.com
  declic connect github --public-url https://declic.example.com --secret-manager acme-ops

Exit status: 0 the App is there and its keys are kept, 1 it is not, 2 the settings or the command are wrong.")]
    Github(Github),
}

/// Arguments of `declic connect github`.
#[derive(clap::Args)]
struct Github {
    /// Address at which GitHub reaches the service; `public-url` of the settings if not given
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// The App belongs to this organisation, not to you
    #[arg(long, value_name = "NAME")]
    organization: Option<String>,
    /// Its name at GitHub, where every name is there only once
    #[arg(long, default_value = "Declic")]
    name: String,
    /// GitHub's pages; another address is an Enterprise Server
    #[arg(long, value_name = "URL", default_value = "https://github.com")]
    github_url: String,
    /// The operator's settings: addresses that may be reached, and Google's credentials
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder for the keys, which only you can read
    #[arg(long, value_name = "DIR", default_value = "secrets")]
    keys: PathBuf,
    /// Keep the keys in Secret Manager of this project, in place of files
    #[arg(long, value_name = "PROJECT")]
    secret_manager: Option<String>,
    /// How long GitHub's answer is waited for
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    wait: u64,
}

/// Does it, and says what to write into the settings.
pub fn run(arguments: &Arguments, environment: &Environment) -> ExitCode {
    let What::Github(github) = &arguments.what;
    let settings = match settings(github.config.as_deref(), environment) {
        Ok(settings) => settings,
        Err(why) => return complain(USAGE, why.trim_end()),
    };
    let public_url = github.public_url.clone().or_else(|| settings.as_ref()?.public_url.clone());
    let Some(public_url) = public_url else {
        return complain(USAGE, "give --public-url: the address at which GitHub reaches this service");
    };
    let keep = match &github.secret_manager {
        Some(project) => Keep::SecretManager { project: project.clone() },
        None => Keep::Files { folder: github.keys.clone() },
    };
    let plan = match Plan::new(&github.github_url, github.organization.clone(), &github.name, &public_url, keep) {
        Ok(plan) => plan,
        Err(why) => return complain(USAGE, why),
    };
    block_on(async {
        let flow = match connect::begin(plan, settings).await {
            Ok(flow) => flow,
            Err(why) => return complain(WRONG, why),
        };
        outln!("open {} and follow it to GitHub", flow.address());
        match flow.end(Duration::from_secs(github.wait)).await {
            Ok(connected) => {
                outln!("{connected}");
                ExitCode::SUCCESS
            }
            Err(why) => complain(WRONG, why),
        }
    })
}

/// Those that were named, or `declic.yaml` if it is there; without secrets, because the App's are not there yet.
fn settings(named: Option<&Path>, environment: &Environment) -> Result<Option<Settings>, String> {
    let path = named.unwrap_or(Path::new("declic.yaml"));
    if named.is_none() && !path.exists() {
        return Ok(None);
    }
    let loaded = settings::load(path, Mode::Names, environment);
    loaded.map(|loaded| Some(loaded.settings)).map_err(|unusable| unusable.render(super::colour()))
}
