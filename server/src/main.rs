//! Reads the configuration and runs until it is told to stop.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use server::{Server, config::Config, telemetry};
use tokio::signal::unix::{SignalKind, signal};

/// Open files at the same time: the streams that are allowed, and room for the rest.
const FILES: u64 = 20_000;

fn main() -> ExitCode {
    let config = match Config::read(std::env::args_os()) {
        Ok(config) => config,
        Err(config::Stop::Said(text)) => {
            // Help and version were asked for; a closed pipe is nobody's problem.
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
    // Every stream is a file; what accounts are given at first is too few of them.
    if let Err(error) = rlimit::increase_nofile_limit(FILES) {
        tracing::warn!(%error, "the limit of open files cannot be raised, so fewer streams can be open");
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
    // For whoever sits at the terminal, and not part of the log.
    let greeting: String = server.greeting(config, address).iter().map(|line| format!("belvedere: {line}\n")).collect();
    io::stderr().write_all(greeting.as_bytes()).ok();
    let mut stdout = io::stdout();
    // Whoever closed our standard output does not wait for this line.
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
