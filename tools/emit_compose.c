/* A compose file of vLLM servers, one a GPU, behind nginx, which sends each user to the same server
 * by a consistent hash: caches of prompts and pictures stay warm, and of two versions a user sees
 * one. */
#include <stdio.h>
#include <string.h>

#include "tools/emit.h"

#define ROUTER_IMAGE "nginx:1.28"
#define MODEL_PATH   "/model"

static void pair_seconds(vlmp_json_writer *w, const char *key, int64_t seconds)
{
    char text[32];
    snprintf(text, sizeof text, "%llds", (long long)seconds);
    vlmp_json_pair_string(w, key, text);
}

/* Read-only; must be there. In compose files '$' begins a variable, "$$" is the sign. */
static void put_folder(vlmp_json_writer *w, const char *source, const char *target)
{
    vlmp_buffer text = {0};
    for (const char *c = source; *c != '\0'; c++)
        vlmp_buffer_append(&text, *c == '$' ? "$$" : c, *c == '$' ? 2 : 1);
    w->out.failed |= text.failed;
    vlmp_json_pair_open(w, "volumes", '[');
    vlmp_json_open(w, '{');
    vlmp_json_pair_string(w, "type", "bind");
    vlmp_json_pair_string(w, "source", text.failed ? "" : text.data);
    vlmp_json_pair_string(w, "target", target);
    vlmp_json_pair_bool(w, "read_only", true);
    vlmp_json_pair_open(w, "bind", '{');
    vlmp_json_pair_bool(w, "create_host_path", false);
    vlmp_json_close(w, '}');
    vlmp_json_close(w, '}');
    vlmp_json_close(w, ']');
    vlmp_buffer_free(&text);
}

static void put_list(vlmp_json_writer *w, const char *key, const char *const *items, size_t count)
{
    vlmp_json_pair_open(w, key, '[');
    for (size_t i = 0; i < count; i++)
        vlmp_json_put_string(w, items[i]);
    vlmp_json_close(w, ']');
}

static void put_gpu(vlmp_json_writer *w, int64_t index)
{
    char id[24];
    snprintf(id, sizeof id, "%lld", (long long)index);
    vlmp_json_pair_open(w, "deploy", '{');
    vlmp_json_pair_open(w, "resources", '{');
    vlmp_json_pair_open(w, "reservations", '{');
    vlmp_json_pair_open(w, "devices", '[');
    vlmp_json_open(w, '{');
    vlmp_json_pair_string(w, "driver", "nvidia");
    put_list(w, "device_ids", (const char *const[]){id}, 1);
    put_list(w, "capabilities", (const char *const[]){"gpu"}, 1);
    vlmp_json_close(w, '}');
    vlmp_json_close(w, ']');
    for (int i = 0; i < 3; i++)
        vlmp_json_close(w, '}');
}

/* Healthy when the model is loaded. */
static void put_health(vlmp_json_writer *w, const vlmp_emit_facts *f)
{
    char script[128];
    snprintf(script, sizeof script,
             "import urllib.request; urllib.request.urlopen('http://127.0.0.1:%d/v1/models')",
             VLMP_EMIT_PORT);
    vlmp_json_pair_open(w, "healthcheck", '{');
    put_list(w, "test", (const char *const[]){"CMD", "python3", "-c", script}, 4);
    pair_seconds(w, "interval", 10);
    pair_seconds(w, "timeout", 5);
    vlmp_json_pair_int(w, "retries", 6);
    pair_seconds(w, "start_period", f->load_seconds);
    vlmp_json_close(w, '}');
}

/* folder: NULL: this export. */
static void put_server(vlmp_json_writer *w, const vlmp_emit_facts *f, int64_t index,
                       const char *folder)
{
    bool own = folder == NULL;
    char name[32];
    snprintf(name, sizeof name, "%s-%lld", own ? "server" : "previous", (long long)index);
    vlmp_json_pair_open(w, name, '{');
    vlmp_json_pair_string(w, "image", "${VLLM_IMAGE:-" VLMP_EMIT_IMAGE "}");
    put_list(w, "entrypoint", (const char *const[]){"vllm"}, 1);
    vlmp_json_key(w, "command");
    vlmp_emit_words(w, f, MODEL_PATH, 1, own);
    vlmp_json_pair_open(w, "environment", '{');
    vlmp_json_pair_string(w, "HF_HUB_OFFLINE", "1");
    vlmp_json_close(w, '}');
    put_folder(w, own ? "." : folder, MODEL_PATH);
    vlmp_json_pair_string(w, "shm_size", "2gb");
    put_health(w, f);
    pair_seconds(w, "stop_grace_period", VLMP_EMIT_DRAIN);
    vlmp_json_pair_string(w, "restart", "unless-stopped");
    put_list(w, "security_opt", (const char *const[]){"no-new-privileges:true"}, 1);
    put_gpu(w, own ? index : f->emit->replicas + index);
    vlmp_json_close(w, '}');
}

static void put_dependence(vlmp_json_writer *w, const char *version, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        char name[32];
        snprintf(name, sizeof name, "%s-%lld", version, (long long)i);
        vlmp_json_pair_open(w, name, '{');
        vlmp_json_pair_string(w, "condition", "service_healthy");
        vlmp_json_close(w, '}');
    }
}

static void put_router(vlmp_json_writer *w, const vlmp_emit_facts *f)
{
    static const char *const command[] = {"nginx", "-c", "/deploy/nginx.conf", "-g", "daemon off;"};
    char ports[48];
    snprintf(ports, sizeof ports, "${PORT:-8000}:%d", VLMP_EMIT_PORT);
    vlmp_json_pair_open(w, "router", '{');
    vlmp_json_pair_string(w, "image", ROUTER_IMAGE);
    put_list(w, "command", command, sizeof command / sizeof *command);
    put_folder(w, ".", "/deploy");
    put_list(w, "ports", (const char *const[]){ports}, 1);
    vlmp_json_pair_open(w, "depends_on", '{');
    put_dependence(w, "server", f->emit->replicas);
    if (f->emit->previous != NULL) put_dependence(w, "previous", f->emit->replicas);
    vlmp_json_close(w, '}');
    vlmp_json_pair_string(w, "restart", "unless-stopped");
    vlmp_json_close(w, '}');
}

void vlmp_emit_compose(vlmp_json_writer *w, const vlmp_emit_facts *f)
{
    int64_t replicas = f->emit->replicas;
    vlmp_json_open(w, '{');
    vlmp_json_pair_string(w, "name", f->name);
    vlmp_json_pair_open(w, "x-vlmpack", '{');
    vlmp_json_pair_string(w, "version", VLMP_VERSION);
    vlmp_json_pair_string(w, "digest", f->digest);
    vlmp_json_close(w, '}');
    vlmp_json_pair_open(w, "services", '{');
    put_router(w, f);
    for (int64_t i = 0; i < replicas; i++)
        put_server(w, f, i, NULL);
    for (int64_t i = 0; i < replicas && f->emit->previous != NULL; i++)
        put_server(w, f, i, f->emit->previous);
    vlmp_json_close(w, '}');
    vlmp_json_close(w, '}');
}

static void put_upstream(vlmp_buffer *out, const char *version, int64_t count, int64_t weight)
{
    for (int64_t i = 0; i < count; i++)
        vlmp_buffer_printf(out,
                           "        server %s-%lld:%d weight=%lld max_fails=3 fail_timeout=10s;\n",
                           version, (long long)i, VLMP_EMIT_PORT, (long long)weight);
}

void vlmp_emit_nginx(vlmp_buffer *out, const vlmp_emit_facts *f)
{
    const vlmp_emit *emit = f->emit;
    vlmp_buffer_printf(out,
                       "# Made by vlmpack " VLMP_VERSION " for %s.\n"
                       "worker_processes auto;\n"
                       "events {\n"
                       "    worker_connections 1024;\n"
                       "}\n"
                       "http {\n"
                       "    # Who asks: the header, else the address.\n"
                       "    map $http_x_user_id $user {\n"
                       "        \"\" $remote_addr;\n"
                       "        default $http_x_user_id;\n"
                       "    }\n"
                       "    upstream servers {\n"
                       "        hash $user consistent;\n",
                       f->version);
    put_upstream(out, "server", emit->replicas, emit->previous != NULL ? emit->share : 1);
    if (emit->previous != NULL) put_upstream(out, "previous", emit->replicas, 100 - emit->share);
    vlmp_buffer_printf(out,
                       "        keepalive 32;\n"
                       "    }\n"
                       "    server {\n"
                       "        listen %d;\n"
                       "        client_max_body_size 64m;\n"
                       "        # The engine's other paths are not reached from outside.\n"
                       "        location / {\n"
                       "            return 404;\n"
                       "        }\n"
                       "        location /v1/ {\n"
                       "            proxy_pass http://servers;\n"
                       "            proxy_http_version 1.1;\n"
                       "            proxy_set_header Connection \"\";\n"
                       "            proxy_buffering off;\n"
                       "            proxy_read_timeout %ds;\n"
                       "        }\n"
                       "    }\n"
                       "}",
                       VLMP_EMIT_PORT, VLMP_EMIT_TIMEOUT);
}
