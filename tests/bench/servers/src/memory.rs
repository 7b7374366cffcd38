//! What this process has in memory.

use crate::Result;

/// Mebibytes of this process that are resident, and the most that ever were.
///
/// # Errors
/// Fails where the system does not tell, as others than Linux.
pub fn resident() -> Result<(f64, f64)> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let mebibytes = |name: &str| -> Result<f64> {
        let line =
            status.lines().find_map(|line| line.strip_prefix(name)).ok_or("no such line in /proc/self/status")?;
        let kibibytes: f64 = line.trim_start_matches(':').trim().trim_end_matches(" kB").parse()?;
        Ok(kibibytes / 1024.0)
    };
    Ok((mebibytes("VmRSS")?, mebibytes("VmHWM")?))
}
