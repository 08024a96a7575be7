/* vlm-export --emit: files by which other systems serve the exported folder. JSON, which kubectl
 * and docker compose read as the YAML that it is, and a configuration of nginx. */
#pragma once

#include "src/base/outfolder.h"
#include "tools/export_report.h"

/* What the options say; what the site alone knows. */
typedef struct {
    const char *kind;        /* "kserve", "compose"; NULL: nothing is emitted */
    const char *storage_uri; /* kserve: where the cluster finds the folder */
    const char *prometheus;  /* kserve: its address, which the autoscaler asks */
    const char *previous;    /* the version before: a service's name, a folder; NULL: none */
    int64_t share;           /* percent of the traffic that this version gets beside it */
    int64_t replicas;        /* servers; kserve: at most */
    int64_t queue;           /* kserve: requests a server has at hand before another is started */
} vlmp_emit;

/* VLMP_ERR_USAGE: options that do not go together, or have no place in the files. */
int vlmp_emit_check(const vlmp_emit *emit, vlmp_serve engine, vlmp_error *err);

/* Writes the files. */
int vlmp_emit_write(const vlmp_emit *emit, const vlmp_export_facts *facts,
                    const vlmp_outfolder *folder, vlmp_error *err);

/* What the two kinds share. */

#define VLMP_EMIT_PORT    8080
#define VLMP_EMIT_IMAGE   "vllm/vllm-openai:v0.29.0"
#define VLMP_EMIT_DRAIN   180 /* s that requests have to end */
#define VLMP_EMIT_TIMEOUT 600 /* s that one may take */
#define VLMP_EMIT_NAME    45  /* bytes of a name with NUL; KServe appends, a label has 63 */

typedef struct {
    const vlmp_emit *emit;
    const vlmp_export *export;
    char name[VLMP_EMIT_NAME];         /* of the folder, as a label of DNS */
    char version[VLMP_EMIT_NAME + 16]; /* name and eight digits of the packed file's digest */
    const char *digest;
    int64_t load_seconds; /* that a server has until it answers */
} vlmp_emit_facts;

/* The engine's command with the folder, name and address that it has in a container, as an array
 * of w; the first `left` words are left out. own: the folder is this export; else it is left to the
 * engine to see how its weights are quantized. */
void vlmp_emit_words(vlmp_json_writer *w, const vlmp_emit_facts *facts, const char *folder,
                     size_t left, bool own);

void vlmp_emit_kserve(vlmp_json_writer *w, const vlmp_emit_facts *facts);
void vlmp_emit_kserve_route(vlmp_json_writer *w, const vlmp_emit_facts *facts);
void vlmp_emit_compose(vlmp_json_writer *w, const vlmp_emit_facts *facts);
void vlmp_emit_nginx(vlmp_buffer *out, const vlmp_emit_facts *facts);
