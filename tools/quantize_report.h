/* What vlm-quantize prints and records: the plan, a row for each linear, the summary. */
#pragma once

#include "src/base/json.h"
#include "src/quant/run/driver.h"
#include "tools/cli.h"
#include "tools/quantize_plan.h"

/* The plan as a table, or with --json --dry-run as a document. tensors: what the file will keep as
 * "vlmp.fates", or NULL. work: what vlmp_quantize_work_bytes says, for a dry run; 0 when it is
 * not known. */
int vlmp_quantize_print_plan(const vlmp_cli_args *args, const vlmp_quantize_plan *what,
                             const char *tensors, bool dry_run, uint64_t work, vlmp_error *err);

/* "rtn 4 bits g128", "kept". */
void vlmp_method_text(char *out, size_t capacity, vlmp_method method, const vlmp_scheme *scheme);

/* Warns of linears whose group is another than was asked for or could be expected, with counts.
 * More fallbacks among them than are allowed: VLMP_ERR_GATE, before any work. */
int vlmp_quantize_check_groups(const vlmp_cli_command *command, const vlmp_cli_args *args,
                               const vlmp_linear_info *linears, const vlmp_plan *plan,
                               int64_t allowed, vlmp_error *err);

/* The live table: header and one row, without newline. */
void vlmp_quantize_head(vlmp_buffer *out);
void vlmp_quantize_row(vlmp_buffer *out, const vlmp_linear_result *result);

typedef struct {
    int linears;
    int fallbacks;
    int kept_rtn;
    int unguarded;
    int auto_channels;               /* of the plan */
    const vlmp_selection *selection; /* of the calibration; NULL: none was needed */
    char first_fallback[VLMP_NAME_MAX];
} vlmp_quantize_summary;

/* Adds a list of linears' records to the counts. */
int vlmp_quantize_count(vlmp_quantize_summary *summary, const cJSON *linears, vlmp_error *err);

/* Reads the records of all steps: counts, the list for the packed file (one JSON array), tensors
 * that steps replaced (entered in the packed plan). */
int vlmp_quantize_collect(vlmp_quantize_summary *summary, vlmp_sink *sink, vlmp_packed_plan *packed,
                          vlmp_json_writer *decisions, vlmp_error *err);

/* Writes OUT.run.json and prints the closing lines, when the packed file is in its place. A record
 * that cannot be written is a warning: the result is there. again: an earlier run has finished it;
 * a record that is there stays as it is. */
int vlmp_quantize_done(const vlmp_cli_command *cli, const vlmp_cli_args *args, const char *output,
                       const char *digest, const vlmp_quantize_summary *summary, bool again,
                       double seconds, vlmp_error *err);
