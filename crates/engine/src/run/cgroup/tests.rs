//! The limits of made-up cgroups of both versions.

use super::*;

const GIB: u64 = 1 << 30;
const V2: &str = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
const V1: &str = "25 23 0:21 / /proc rw - proc proc rw\n\
                  33 31 0:30 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
                  32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:11 - cgroup cgroup rw,cpu,cpuacct\n";

fn quota(cgroups: &str, mounts: &str, files: &[(&str, &str)]) -> Option<f64> {
    let read = |path: &Path| {
        let file = files.iter().find(|(name, _)| Path::new(name) == path);
        file.map(|(_, content)| format!("{content}\n"))
    };
    Cgroups::new(cgroups, mounts, &read).cpu_quota()
}

#[test]
fn quota_and_period_are_read_from_one_file_in_version_2() {
    let of = |content| quota("0::/web\n", V2, &[("/sys/fs/cgroup/web/cpu.max", content)]);
    assert_eq!(of("max 100000"), None);
    assert_eq!(of("100000 100000"), Some(1.0));
    assert_eq!(of("250000 100000"), Some(2.5));
    assert_eq!(of("5000 50000"), Some(0.1));
    for nonsense in ["", "max", "100000", "0 100000", "100000 0", "a b"] {
        assert_eq!(of(nonsense), None, "{nonsense:?}");
    }
}

#[test]
fn minus_one_means_no_quota_in_version_1() {
    let of = |quota_us, period_us| {
        let files = [
            ("/sys/fs/cgroup/cpu,cpuacct/web/cpu.cfs_quota_us", quota_us),
            ("/sys/fs/cgroup/cpu,cpuacct/web/cpu.cfs_period_us", period_us),
        ];
        quota("5:memory:/other\n4:cpu,cpuacct:/web\n1:name=systemd:/x\n", V1, &files)
    };
    assert_eq!(of("-1", "100000"), None);
    assert_eq!(of("150000", "100000"), Some(1.5));
    assert_eq!(of("400000", "200000"), Some(2.0));
    assert_eq!(of("150000", "0"), None);
}

#[test]
fn the_smallest_quota_up_to_the_root_applies() {
    let own = "0::/a/b/c\n";
    let files = |a, b, c| {
        quota(
            own,
            V2,
            &[
                ("/sys/fs/cgroup/a/cpu.max", a),
                ("/sys/fs/cgroup/a/b/cpu.max", b),
                ("/sys/fs/cgroup/a/b/c/cpu.max", c),
                ("/sys/fs/cgroup/d/cpu.max", "1000 100000"),
            ],
        )
    };
    assert_eq!(files("200000 100000", "max 100000", "max 100000"), Some(2.0));
    assert_eq!(files("300000 100000", "150000 100000", "400000 100000"), Some(1.5));
    assert_eq!(files("max 100000", "max 100000", "50000 100000"), Some(0.5));
    assert_eq!(files("max 100000", "max 100000", "max 100000"), None);
}

#[test]
fn quotas_above_a_cgroup_without_a_file_apply() {
    assert_eq!(quota("0::/a/b\n", V2, &[("/sys/fs/cgroup/a/cpu.max", "200000 100000")]), Some(2.0));
    // The root cgroup of a machine has no file, that of a container has one.
    assert_eq!(quota("0::/\n", V2, &[]), None);
    assert_eq!(quota("0::/\n", V2, &[("/sys/fs/cgroup/cpu.max", "200000 100000")]), Some(2.0));
}

#[test]
fn with_both_versions_mounted_the_smaller_quota_applies() {
    let mounts = format!("{V1}41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
    let (one, period) = ("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us");
    let own = "4:cpu,cpuacct:/\n0::/user\n";
    let files = |v1, v2| [(one, v1), (period, "100000"), ("/sys/fs/cgroup/unified/user/cpu.max", v2)];
    assert_eq!(quota(own, &mounts, &files("300000", "max 100000")), Some(3.0));
    assert_eq!(quota(own, &mounts, &files("-1", "200000 100000")), Some(2.0));
    assert_eq!(quota(own, &mounts, &files("300000", "200000 100000")), Some(2.0));
    assert_eq!(quota(own, &mounts, &files("-1", "max 100000")), None);
}

#[test]
fn a_container_without_a_cgroup_namespace_finds_its_part_of_the_hierarchy() {
    let mounts = "30 23 0:26 /docker/4f /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n";
    let files = [("/sys/fs/cgroup/cpu.max", "150000 100000"), ("/sys/fs/cgroup/app/cpu.max", "50000 100000")];
    assert_eq!(quota("0::/docker/4f\n", mounts, &files), Some(1.5));
    assert_eq!(quota("0::/docker/4f/app\n", mounts, &files), Some(0.5));
    // A cgroup outside of the mounted part, or above the namespace: the quota of the mount's
    // root applies.
    for own in ["0::/docker/77\n", "0::/../77\n", "0::/../../app\n"] {
        assert_eq!(quota(own, mounts, &files), Some(1.5), "{own}");
    }
    assert_eq!(quota("0::/../app\n", V2, &files), Some(1.5));
}

#[test]
fn a_mount_point_can_contain_spaces() {
    let mounts = "30 23 0:26 / /mnt/c\\040group rw - cgroup2 cgroup2 rw\n";
    assert_eq!(quota("0::/a b\n", mounts, &[("/mnt/c group/a b/cpu.max", "100000 100000")]), Some(1.0));
}

#[test]
fn without_cgroups_no_quota_applies() {
    assert_eq!(quota("", V2, &[("/sys/fs/cgroup/cpu.max", "100000 100000")]), None);
    assert_eq!(quota("0::/\n", "", &[("/sys/fs/cgroup/cpu.max", "100000 100000")]), None);
    assert_eq!(quota("0::/\nnonsense\n", "nonsense\n1 2 - \n", &[]), None);
}

fn limit(cgroups: &str, mounts: &str, files: &[(&str, &str)]) -> Option<u64> {
    let read = |path: &Path| {
        let file = files.iter().find(|(name, _)| Path::new(name) == path);
        file.map(|(_, content)| format!("{content}\n"))
    };
    Cgroups::new(cgroups, mounts, &read).memory_limit()
}

#[test]
fn max_means_no_limit_in_version_2() {
    let of = |content| limit("0::/web\n", V2, &[("/sys/fs/cgroup/web/memory.max", content)]);
    assert_eq!(of("max"), None);
    assert_eq!(of("536870912"), Some(512 << 20));
    for nonsense in ["", "-1", "512M"] {
        assert_eq!(of(nonsense), None, "{nonsense:?}");
    }
}

#[test]
fn version_1_limits_are_read_from_the_memory_controller() {
    let files = [
        ("/sys/fs/cgroup/memory/web/memory.limit_in_bytes", "1073741824"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712"),
        ("/sys/fs/cgroup/cpu,cpuacct/other/memory.limit_in_bytes", "5"),
    ];
    assert_eq!(limit("4:cpu,cpuacct:/other\n5:memory:/web\n", V1, &files), Some(GIB));
}

#[test]
fn the_smallest_limit_up_to_the_root_applies() {
    let files = |a, b| {
        let files = [
            ("/sys/fs/cgroup/a/memory.max", a),
            ("/sys/fs/cgroup/a/b/memory.max", b),
            ("/sys/fs/cgroup/c/memory.max", "1"),
        ];
        limit("0::/a/b\n", V2, &files)
    };
    assert_eq!(files("1073741824", "2147483648"), Some(GIB));
    assert_eq!(files("2147483648", "1073741824"), Some(GIB));
    assert_eq!(files("max", "1073741824"), Some(GIB));
    assert_eq!(files("max", "max"), None);
    assert_eq!(limit("", V2, &[]), None);
}

#[test]
fn the_smallest_limit_of_tasks_applies_in_both_versions() {
    let tasks = |cgroups: &str, mounts: &str, files: &[(&str, &str)]| {
        let read = |path: &Path| files.iter().find(|(name, _)| Path::new(name) == path).map(|(_, text)| (*text).into());
        Cgroups::new(cgroups, mounts, &read).task_limit()
    };
    let files = [("/sys/fs/cgroup/a/pids.max", "100\n"), ("/sys/fs/cgroup/a/b/pids.max", "max\n")];
    assert_eq!(tasks("0::/a/b\n", V2, &files), Some(100));
    assert_eq!(tasks("0::/a/b\n", V2, &files[1..]), None);
    let v1 = "34 31 0:31 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n";
    assert_eq!(tasks("8:pids:/x\n", v1, &[("/sys/fs/cgroup/pids/x/pids.max", "7")]), Some(7));
}
