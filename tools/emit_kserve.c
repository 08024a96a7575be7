/* KServe's InferenceService in its standard mode (a Deployment), scaled by KEDA on the requests at
 * hand, and an HTTPRoute of the Gateway API that gives each version its share. */
#include <stdio.h>
#include <string.h>

#include "tools/emit.h"

#define MODEL_PATH    "/mnt/models" /* where KServe puts what STORAGE_URI names */
#define SCALE_DOWN    600           /* s of less load before a server is stopped */
#define SHARED_MEMORY "2Gi"         /* between the engine's processes */
#define HOST_MEMORY   (8ull << 30)  /* bytes beside the weights while they are loaded */
#define MIB           (1ull << 20)

static void pair_number_text(vlmp_json_writer *w, const char *key, int64_t value, const char *unit)
{
    char text[40];
    snprintf(text, sizeof text, "%lld%s", (long long)value, unit);
    vlmp_json_pair_string(w, key, text);
}

static void put_metadata(vlmp_json_writer *w, const vlmp_emit_facts *f)
{
    vlmp_json_pair_open(w, "metadata", '{');
    vlmp_json_pair_string(w, "name", f->version);
    vlmp_json_pair_open(w, "labels", '{');
    vlmp_json_pair_string(w, "app.kubernetes.io/name", f->name);
    /* Reached through the route alone. */
    vlmp_json_pair_string(w, "networking.kserve.io/visibility", "cluster-local");
    vlmp_json_close(w, '}');
    vlmp_json_pair_open(w, "annotations", '{');
    vlmp_json_pair_string(w, "serving.kserve.io/deploymentMode", "Standard");
    vlmp_json_pair_string(w, "serving.kserve.io/autoscalerClass", "keda");
    vlmp_json_pair_string(w, "prometheus.io/scrape", "true");
    pair_number_text(w, "prometheus.io/port", VLMP_EMIT_PORT, "");
    vlmp_json_pair_string(w, "prometheus.io/path", "/metrics");
    vlmp_json_pair_string(w, "vlmpack/version", VLMP_VERSION);
    vlmp_json_pair_string(w, "vlmpack/digest", f->digest);
    vlmp_json_close(w, '}');
    vlmp_json_close(w, '}');
}

/* Servers = requests that run or wait, of all servers of this version, over those of one. */
static void put_scaling(vlmp_json_writer *w, const vlmp_emit_facts *f)
{
    char query[512];
    snprintf(query, sizeof query,
             "sum(vllm:num_requests_waiting{pod=~\"%s-predictor-.*\"}) + "
             "sum(vllm:num_requests_running{pod=~\"%s-predictor-.*\"})",
             f->version, f->version);
    vlmp_json_pair_int(w, "minReplicas", 1);
    vlmp_json_pair_int(w, "maxReplicas", f->emit->replicas);
    vlmp_json_pair_open(w, "autoScaling", '{');
    vlmp_json_pair_open(w, "metrics", '[');
    vlmp_json_open(w, '{');
    vlmp_json_pair_string(w, "type", "External");
    vlmp_json_pair_open(w, "external", '{');
    vlmp_json_pair_open(w, "metric", '{');
    vlmp_json_pair_string(w, "backend", "prometheus");
    vlmp_json_pair_string(w, "serverAddress", f->emit->prometheus);
    vlmp_json_pair_string(w, "query", query);
    vlmp_json_close(w, '}');
    vlmp_json_pair_open(w, "target", '{');
    vlmp_json_pair_string(w, "type", "Value");
    pair_number_text(w, "value", f->emit->queue, "");
    vlmp_json_close(w, '}');
    vlmp_json_close(w, '}');
    vlmp_json_close(w, '}');
    vlmp_json_close(w, ']');
    vlmp_json_pair_open(w, "behavior", '{');
    vlmp_json_pair_open(w, "scaleDown", '{');
    vlmp_json_pair_int(w, "stabilizationWindowSeconds", SCALE_DOWN);
    vlmp_json_close(w, '}');
    vlmp_json_close(w, '}');
    vlmp_json_close(w, '}');
}

static void put_probe(vlmp_json_writer *w, const char *key, const char *path, int64_t period,
                      int64_t failures)
{
    vlmp_json_pair_open(w, key, '{');
    vlmp_json_pair_open(w, "httpGet", '{');
    vlmp_json_pair_string(w, "path", path);
    vlmp_json_pair_int(w, "port", VLMP_EMIT_PORT);
    vlmp_json_close(w, '}');
    vlmp_json_pair_int(w, "periodSeconds", period);
    vlmp_json_pair_int(w, "timeoutSeconds", 5);
    vlmp_json_pair_int(w, "failureThreshold", failures);
    vlmp_json_close(w, '}');
}

/* /v1/models answers once the model is loaded, /health while the engine lives. */
static void put_probes(vlmp_json_writer *w, const vlmp_emit_facts *f)
{
    put_probe(w, "startupProbe", "/v1/models", 10, (f->load_seconds + 9) / 10);
    put_probe(w, "readinessProbe", "/v1/models", 5, 3);
    put_probe(w, "livenessProbe", "/health", 10, 6);
    /* The route hears of the end before the server does. */
    vlmp_json_pair_open(w, "lifecycle", '{');
    vlmp_json_pair_open(w, "preStop", '{');
    vlmp_json_pair_open(w, "exec", '{');
    vlmp_json_pair_open(w, "command", '[');
    vlmp_json_put_string(w, "sleep");
    vlmp_json_put_string(w, "15");
    vlmp_json_close(w, ']');
    for (int i = 0; i < 3; i++)
        vlmp_json_close(w, '}');
}

static void put_variable(vlmp_json_writer *w, const char *name, const char *value)
{
    vlmp_json_open(w, '{');
    vlmp_json_pair_string(w, "name", name);
    vlmp_json_pair_string(w, "value", value);
    vlmp_json_close(w, '}');
}

static void put_resources(vlmp_json_writer *w, const vlmp_emit_facts *f)
{
    uint64_t memory = vlmp_export_bytes(f->export) + HOST_MEMORY;
    vlmp_json_pair_open(w, "resources", '{');
    vlmp_json_pair_open(w, "requests", '{');
    vlmp_json_pair_string(w, "cpu", "4");
    pair_number_text(w, "memory", (int64_t)((memory + MIB - 1) / MIB), "Mi");
    vlmp_json_close(w, '}');
    vlmp_json_pair_open(w, "limits", '{');
    vlmp_json_pair_string(w, "nvidia.com/gpu", "1");
    vlmp_json_close(w, '}');
    vlmp_json_close(w, '}');
    vlmp_json_pair_open(w, "securityContext", '{');
    vlmp_json_pair_bool(w, "allowPrivilegeEscalation", false);
    vlmp_json_pair_open(w, "seccompProfile", '{');
    vlmp_json_pair_string(w, "type", "RuntimeDefault");
    vlmp_json_close(w, '}');
    vlmp_json_close(w, '}');
}

static void put_container(vlmp_json_writer *w, const vlmp_emit_facts *f)
{
    vlmp_json_open(w, '{');
    vlmp_json_pair_string(w, "name", "kserve-container");
    vlmp_json_pair_string(w, "image", VLMP_EMIT_IMAGE);
    vlmp_json_key(w, "command");
    vlmp_emit_words(w, f, MODEL_PATH, 0, true);
    vlmp_json_pair_open(w, "env", '[');
    put_variable(w, "STORAGE_URI", f->emit->storage_uri);
    put_variable(w, "HF_HUB_OFFLINE", "1");
    vlmp_json_close(w, ']');
    vlmp_json_pair_open(w, "ports", '[');
    vlmp_json_open(w, '{');
    vlmp_json_pair_int(w, "containerPort", VLMP_EMIT_PORT);
    vlmp_json_pair_string(w, "protocol", "TCP");
    vlmp_json_close(w, '}');
    vlmp_json_close(w, ']');
    put_probes(w, f);
    put_resources(w, f);
    vlmp_json_pair_open(w, "volumeMounts", '[');
    vlmp_json_open(w, '{');
    vlmp_json_pair_string(w, "name", "shared-memory");
    vlmp_json_pair_string(w, "mountPath", "/dev/shm");
    vlmp_json_close(w, '}');
    vlmp_json_close(w, ']');
    vlmp_json_close(w, '}');
}

void vlmp_emit_kserve(vlmp_json_writer *w, const vlmp_emit_facts *f)
{
    vlmp_json_open(w, '{');
    vlmp_json_pair_string(w, "apiVersion", "serving.kserve.io/v1beta1");
    vlmp_json_pair_string(w, "kind", "InferenceService");
    put_metadata(w, f);
    vlmp_json_pair_open(w, "spec", '{');
    vlmp_json_pair_open(w, "predictor", '{');
    put_scaling(w, f);
    vlmp_json_pair_int(w, "terminationGracePeriodSeconds", VLMP_EMIT_DRAIN);
    vlmp_json_pair_open(w, "containers", '[');
    put_container(w, f);
    vlmp_json_close(w, ']');
    vlmp_json_pair_open(w, "volumes", '[');
    vlmp_json_open(w, '{');
    vlmp_json_pair_string(w, "name", "shared-memory");
    vlmp_json_pair_open(w, "emptyDir", '{');
    vlmp_json_pair_string(w, "medium", "Memory");
    vlmp_json_pair_string(w, "sizeLimit", SHARED_MEMORY);
    vlmp_json_close(w, '}');
    vlmp_json_close(w, '}');
    vlmp_json_close(w, ']');
    for (int i = 0; i < 3; i++)
        vlmp_json_close(w, '}');
}

static void put_backend(vlmp_json_writer *w, const char *service, int64_t weight)
{
    char name[128];
    snprintf(name, sizeof name, "%s-predictor", service);
    vlmp_json_open(w, '{');
    vlmp_json_pair_string(w, "name", name);
    vlmp_json_pair_int(w, "port", 80);
    vlmp_json_pair_int(w, "weight", weight);
    vlmp_json_close(w, '}');
}

/* "/NAME/v1/…" becomes "/v1/…": the engine's other paths are not reached from outside. */
static void put_path(vlmp_json_writer *w, const vlmp_emit_facts *f)
{
    char path[VLMP_EMIT_NAME + 8];
    snprintf(path, sizeof path, "/%s/v1", f->name);
    vlmp_json_pair_open(w, "matches", '[');
    vlmp_json_open(w, '{');
    vlmp_json_pair_open(w, "path", '{');
    vlmp_json_pair_string(w, "type", "PathPrefix");
    vlmp_json_pair_string(w, "value", path);
    vlmp_json_close(w, '}');
    vlmp_json_close(w, '}');
    vlmp_json_close(w, ']');
    vlmp_json_pair_open(w, "filters", '[');
    vlmp_json_open(w, '{');
    vlmp_json_pair_string(w, "type", "URLRewrite");
    vlmp_json_pair_open(w, "urlRewrite", '{');
    vlmp_json_pair_open(w, "path", '{');
    vlmp_json_pair_string(w, "type", "ReplacePrefixMatch");
    vlmp_json_pair_string(w, "replacePrefixMatch", "/v1");
    for (int i = 0; i < 3; i++)
        vlmp_json_close(w, '}');
    vlmp_json_close(w, ']');
}

void vlmp_emit_kserve_route(vlmp_json_writer *w, const vlmp_emit_facts *f)
{
    const char *previous = f->emit->previous;
    vlmp_json_open(w, '{');
    vlmp_json_pair_string(w, "apiVersion", "gateway.networking.k8s.io/v1");
    vlmp_json_pair_string(w, "kind", "HTTPRoute");
    vlmp_json_pair_open(w, "metadata", '{');
    vlmp_json_pair_string(w, "name", f->name);
    vlmp_json_close(w, '}');
    vlmp_json_pair_open(w, "spec", '{');
    vlmp_json_pair_open(w, "parentRefs", '[');
    vlmp_json_open(w, '{');
    vlmp_json_pair_string(w, "name", "kserve-ingress-gateway");
    vlmp_json_pair_string(w, "namespace", "kserve");
    vlmp_json_close(w, '}');
    vlmp_json_close(w, ']');
    vlmp_json_pair_open(w, "rules", '[');
    vlmp_json_open(w, '{');
    put_path(w, f);
    vlmp_json_pair_open(w, "timeouts", '{');
    pair_number_text(w, "request", VLMP_EMIT_TIMEOUT, "s");
    vlmp_json_close(w, '}');
    vlmp_json_pair_open(w, "backendRefs", '[');
    put_backend(w, f->version, previous != NULL ? f->emit->share : 100);
    if (previous != NULL) put_backend(w, previous, 100 - f->emit->share);
    vlmp_json_close(w, ']');
    vlmp_json_close(w, '}');
    vlmp_json_close(w, ']');
    vlmp_json_close(w, '}');
    vlmp_json_close(w, '}');
}
