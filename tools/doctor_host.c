/* What the system says of itself; each place is read once, and one that is missing is no fault. */
#include <langinfo.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "formats/hub.h"
#include "src/base/outfile.h"
#include "tools/doctor.h"

#define GB 1e9

/* The first line of a file, without its break; false: there is none. */
static bool read_line(const char *path, char *out, size_t capacity)
{
    FILE *file = fopen(path, "r");
    bool read = file != NULL && fgets(out, (int)capacity, file) != NULL;
    if (file != NULL) fclose(file);
    if (read) out[strcspn(out, "\n")] = '\0';
    return read;
}

/* What follows "key" and a colon in a file of such lines, from its first letter or digit on. */
static bool read_field(const char *path, const char *key, char *out, size_t capacity)
{
    char line[4096];
    FILE *file = fopen(path, "r");
    bool found = false;
    while (file != NULL && !found && fgets(line, sizeof line, file) != NULL) {
        size_t length = strlen(key);
        const char *colon = strchr(line, ':');
        if (strncmp(line, key, length) != 0 || colon == NULL) continue;
        if (strspn(line + length, " \t:") < (size_t)(colon + 1 - line) - length) continue;
        colon += 1 + strspn(colon + 1, " \t");
        snprintf(out, capacity, "%.*s", (int)strcspn(colon, "\n"), colon);
        found = true;
    }
    if (file != NULL) fclose(file);
    return found;
}

static void check_processor(vlmp_findings *findings)
{
    static const char *const wanted[] = {"avx2",     "fma",         "avx512f",     "avx512bw",
                                         "avx512vl", "avx512_vnni", "avx512_bf16", "amx_int8"};
    vlmp_finding *f = vlmp_findings_add(findings, "processor");
    char model[128] = "unknown", flags[4096] = "", listed[160] = "";
    read_field("/proc/cpuinfo", "model name", model, sizeof model);
    if (!read_field("/proc/cpuinfo", "flags", flags + 1, sizeof flags - 2)) {
        vlmp_finding_say(f, "%s", model);
        return;
    }
    flags[0] = ' ';
    strcat(flags, " ");
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        char word[32];
        snprintf(word, sizeof word, " %s ", wanted[i]);
        if (strstr(flags, word) == NULL) continue;
        strcat(listed, listed[0] != '\0' ? " " : "; ");
        strcat(listed, wanted[i]);
    }
    vlmp_finding_say(f, "%s%s", model, listed);
    if (strstr(flags, " avx2 ") == NULL || strstr(flags, " fma ") == NULL)
        vlmp_finding_advise(f, VLMP_FINDING_BAD,
                            "without AVX2 everything takes several times as long; use a processor, "
                            "or a virtual one, that has it");
    else if (strstr(flags, " avx512_vnni ") == NULL)
        vlmp_finding_advise(f, VLMP_FINDING_NOTE,
                            "a processor with AVX-512 VNNI multiplies int8 activations four times "
                            "as fast");
}

double vlmp_cpu_quota(const char *text)
{
    double quota, period;
    if (sscanf(text, "%lf %lf", &quota, &period) != 2 || !(quota > 0) || !(period > 0)) return 0;
    return quota / period;
}

static double cgroup_processors(void)
{
    char line[128], period[64];
    if (read_line("/sys/fs/cgroup/cpu.max", line, sizeof line)) return vlmp_cpu_quota(line);
    if (!read_line("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", line, 64) ||
        !read_line("/sys/fs/cgroup/cpu/cpu.cfs_period_us", period, sizeof period))
        return 0;
    strcat(line, " ");
    strcat(line, period);
    return vlmp_cpu_quota(line);
}

static void check_threads(vlmp_findings *findings, int threads)
{
    vlmp_finding *f = vlmp_findings_add(findings, "threads");
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    double quota = cgroup_processors();
    vlmp_finding_say(f, "%d of %ld processors", threads, online);
    vlmp_finding_value_of(f, "threads", threads);
    vlmp_finding_value_of(f, "processors", (double)online);
    if (quota <= 0) return;
    vlmp_finding_say(f, "%d of %ld processors, time of %.1f (control group)", threads, online,
                     quota);
    vlmp_finding_value_of(f, "quota", quota);
    if (quota + 0.5 < threads)
        vlmp_finding_advise(f, VLMP_FINDING_NOTE,
                            "more threads than the group has time for wait for each other: give "
                            "--threads %.0f",
                            quota < 1 ? 1 : quota);
}

/* "inactive_file N" of a group's statistics, in bytes. */
static double file_pages(const char *path)
{
    char line[128];
    double bytes = 0;
    FILE *file = fopen(path, "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "inactive_file %lf", &bytes) == 1) break;
    if (file != NULL) fclose(file);
    return bytes;
}

/* Bytes that a control group allows beyond what is used and cannot be taken back, which pages of
 * files can; negative: no limit. */
static double cgroup_memory(void)
{
    static const char *const files[][3] = {
        {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current",
         "/sys/fs/cgroup/memory.stat"},
        {"/sys/fs/cgroup/memory/memory.limit_in_bytes",
         "/sys/fs/cgroup/memory/memory.usage_in_bytes", "/sys/fs/cgroup/memory/memory.stat"}};
    char limit[64], used[64];
    for (size_t i = 0; i < 2; i++) {
        if (!read_line(files[i][0], limit, sizeof limit)) continue;
        if (!read_line(files[i][1], used, sizeof used)) continue;
        double most = strtod(limit, NULL);
        if (!(most > 0 && most < 0x1p60)) return -1; /* "max" reads as 0 */
        return most - strtod(used, NULL) + file_pages(files[i][2]);
    }
    return -1;
}

static void check_memory(vlmp_findings *findings)
{
    vlmp_finding *f = vlmp_findings_add(findings, "memory");
    char total[64] = "0", free_now[64] = "0";
    read_field("/proc/meminfo", "MemTotal", total, sizeof total);
    read_field("/proc/meminfo", "MemAvailable", free_now, sizeof free_now);
    double most = strtod(total, NULL) * 1024, here = strtod(free_now, NULL) * 1024;
    double group = cgroup_memory();
    bool grouped = group >= 0 && group < here;
    struct rlimit space;
    if (grouped) here = group;
    vlmp_finding_say(f, "%.1f of %.1f GB free%s", here / GB, most / GB,
                     grouped ? " (control group)" : "");
    vlmp_finding_value_of(f, "total_bytes", most);
    vlmp_finding_value_of(f, "free_bytes", here);
    if (here < 2 * GB)
        vlmp_finding_advise(f, VLMP_FINDING_NOTE,
                            "models of 7 billion weights take about 4 GB to quantize and 5 GB to "
                            "run at 4 bits; vlm-plan MODEL says how much yours takes");
    if (getrlimit(RLIMIT_AS, &space) == 0 && space.rlim_cur != RLIM_INFINITY)
        vlmp_finding_advise(f, VLMP_FINDING_NOTE,
                            "ulimit -v allows %.1f GB of addresses; models are mapped whole and "
                            "need as much as their files: ulimit -v unlimited",
                            (double)space.rlim_cur / GB);
}

static bool free_space(const char *folder, double *bytes)
{
    struct statvfs disk;
    if (statvfs(folder, &disk) != 0) return false;
    *bytes = (double)disk.f_bavail * (double)disk.f_frsize;
    return true;
}

static void check_disk(vlmp_findings *findings)
{
    vlmp_finding *f = vlmp_findings_add(findings, "disk");
    const char *temporary = vlmp_temporary_folder();
    double here = 0, there = 0;
    if (!free_space(".", &here)) vlmp_finding_advise(f, VLMP_FINDING_BAD, "this folder is gone");
    vlmp_finding_value_of(f, "free_bytes", here);
    if (!free_space(temporary, &there) || access(temporary, W_OK) != 0) {
        vlmp_finding_say(f, "%.1f GB free here", here / GB);
        vlmp_finding_advise(f, VLMP_FINDING_BAD,
                            "%s is not there or not writable; set TMPDIR to a folder that is",
                            temporary);
        return;
    }
    vlmp_finding_say(f, "%.1f GB free here, %.1f GB in %s", here / GB, there / GB, temporary);
    vlmp_finding_value_of(f, "temporary_free_bytes", there);
    if (here < 10 * GB)
        vlmp_finding_advise(f, VLMP_FINDING_NOTE,
                            "quantizing writes the packed file and beside it activations of some "
                            "GB; vlm-plan MODEL says how much");
}

static void check_pages(vlmp_findings *findings)
{
    char line[128];
    if (!read_line("/sys/kernel/mm/transparent_hugepage/enabled", line, sizeof line)) return;
    vlmp_finding *f = vlmp_findings_add(findings, "large pages");
    bool never = strstr(line, "[never]") != NULL;
    vlmp_finding_say(f, "%s", never ? "off" : "on request");
    if (never)
        vlmp_finding_advise(f, VLMP_FINDING_NOTE,
                            "long contexts are an eighth slower without them: echo madvise > "
                            "/sys/kernel/mm/transparent_hugepage/enabled");
}

static void check_hub(vlmp_findings *findings)
{
    vlmp_finding *f = vlmp_findings_add(findings, "hub cache");
    char folder[4096];
    if (!vlmp_hub_folder(folder, sizeof folder)) {
        vlmp_finding_say(f, "no folder: neither HF_HOME nor HOME is set");
        vlmp_finding_advise(f, VLMP_FINDING_NOTE, "models are given by their folders");
    } else if (access(folder, R_OK | X_OK) != 0) {
        vlmp_finding_say(f, "%s is not there", folder);
        vlmp_finding_advise(f, VLMP_FINDING_NOTE,
                            "nothing to do where models are given by their folders; ORG/NAME is "
                            "looked for there (hf download ORG/NAME puts it there)");
    } else {
        vlmp_finding_say(f, "%s", folder);
    }
}

static void check_locale(vlmp_findings *findings)
{
    vlmp_finding *f = vlmp_findings_add(findings, "locale");
    const char *name = setlocale(LC_CTYPE, "");
    vlmp_finding_say(f, "%s, %s", name != NULL ? name : "not installed", nl_langinfo(CODESET));
    if (name == NULL || strcmp(nl_langinfo(CODESET), "UTF-8") != 0)
        vlmp_finding_advise(f, VLMP_FINDING_NOTE,
                            "output is UTF-8 whatever the locale says; set LC_ALL=C.UTF-8 so that "
                            "other programs show it");
    setlocale(LC_CTYPE, "C");
}

void vlmp_doctor_host(vlmp_findings *findings, int threads)
{
    check_processor(findings);
    check_threads(findings, threads);
    check_memory(findings);
    check_disk(findings);
    check_pages(findings);
    check_hub(findings);
    check_locale(findings);
}
