//! The command line.

fn main() -> std::process::ExitCode {
    fourmi::cli::main()
}
