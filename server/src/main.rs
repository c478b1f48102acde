//! Reads the configuration and runs until stopped.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use server::{Server, config::Config, telemetry};
use tokio::signal::unix::{SignalKind, signal};

/// Open files: the maximum number of streams, and a reserve.
const FILES: u64 = 20_000;

fn main() -> ExitCode {
    let config = match Config::read(std::env::args_os()) {
        Ok(config) => config,
        Err(config::Stop::Said(text)) => {
            // Help or version was requested; a closed pipe is ignored.
            io::stdout().write_all(text.as_bytes()).ok();
            return ExitCode::SUCCESS;
        }
        Err(config::Stop::Wrong(why)) => {
            eprintln!("belvedere: {why}");
            return ExitCode::from(2);
        }
        Err(config::Stop::Failed(why)) => {
            eprintln!("belvedere: {why}");
            return ExitCode::FAILURE;
        }
    };
    let _telemetry = telemetry::start();
    // Every stream is a file; the default limit of accounts is too low.
    if let Err(error) = rlimit::increase_nofile_limit(FILES) {
        tracing::warn!(%error, "cannot raise the limit of open files; fewer streams are possible");
    }
    match run(&config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("belvedere: {error}");
            ExitCode::FAILURE
        }
    }
}

use server::config;

#[tokio::main]
async fn run(config: &Config) -> io::Result<()> {
    let listener = server::listen(config.listen).map_err(|error| {
        io::Error::other(format!("cannot listen on {}: {error}; choose another address with --listen", config.listen))
    })?;
    let address = listener.local_addr()?;
    let server = Server::start(config).await?;
    server.listens_at(config, address);
    // For the terminal, not part of the log.
    let greeting: String = server.greeting(config, address).iter().map(|line| format!("belvedere: {line}\n")).collect();
    io::stderr().write_all(greeting.as_bytes()).ok();
    let mut stdout = io::stdout();
    // With a closed standard output this line is not needed.
    writeln!(stdout, "belvedere is ready at {}", server.address(address)).and_then(|()| stdout.flush()).ok();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    server.serve(listener, stop).await
}
