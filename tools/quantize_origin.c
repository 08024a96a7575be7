#include "tools/quantize_origin.h"

#include <stdio.h>
#include <string.h>

#include "src/base/file.h"

void vlmp_selection_write(const vlmp_selection *s, vlmp_json_writer *w)
{
    vlmp_json_open(w, '{');
    if (s->budget > 0) {
        vlmp_json_pair_int(w, "budget", s->budget);
        vlmp_json_pair_int(w, "seed", (int64_t)s->seed);
    } else {
        vlmp_json_pair_string(w, "budget", "all");
    }
    vlmp_json_pair_int(w, "seen", s->seen_tokens);
    vlmp_json_pair_int(w, "held_out", s->held_tokens);
    vlmp_json_pair_int(w, "of", s->tokens);
    vlmp_json_pair_int(w, "samples_seen", s->seen);
    vlmp_json_pair_int(w, "samples_held_out", s->held);
    vlmp_json_pair_int(w, "samples_of", s->samples);
    if (s->stride > 1) vlmp_json_pair_int(w, "picture_stride", s->stride);
    if (s->tower_stride > 1) vlmp_json_pair_int(w, "tower_stride", s->tower_stride);
    vlmp_json_close(w, '}');
}

void vlmp_selection_show(const vlmp_selection *s, vlmp_buffer *out)
{
    vlmp_buffer_printf(out, "on %lld tokens of %d samples, %lld of %d held out",
                       (long long)s->seen_tokens, s->seen, (long long)s->held_tokens, s->held);
    if (s->budget > 0)
        vlmp_buffer_printf(out, "; --tokens all takes all %lld of %d", (long long)s->tokens,
                           s->samples);
    if (s->stride > 1) vlmp_buffer_printf(out, "; moments take one of %d picture rows", s->stride);
    if (s->tower_stride > 1)
        vlmp_buffer_printf(out, "; the tower's moments one of %d rows", s->tower_stride);
}

int vlmp_quantize_program(char hex[VLMP_SHA256_HEX], vlmp_error *err)
{
    vlmp_map map;
    vlmp_error fault = {0};
    if (vlmp_map_open(&map, "/proc/self/exe", &fault) != VLMP_OK)
        return vlmp_fail(err, VLMP_ERR_SYSTEM, "%s", fault.message);
    vlmp_sha256_hex(map.data, map.length, hex);
    vlmp_map_close(&map);
    return VLMP_OK;
}

void vlmp_quantize_identity(const vlmp_quantize_origin *origin, vlmp_buffer *out)
{
    const vlmp_selection *selection = origin->selection;
    vlmp_buffer_printf(out, "tool: vlmpack %s\nprogram: %s\n", VLMP_VERSION, origin->program);
    vlmp_identity_lines(origin->model, out);
    vlmp_buffer_printf(out, "calibration: %s\nrecipe: %s\nsequential: %d\n",
                       origin->calibration_digest, origin->recipe, origin->sequential);
    if (selection != NULL && selection->budget > 0)
        vlmp_buffer_printf(out, "tokens: %lld\nseed: %llu\n", (long long)selection->budget,
                           (unsigned long long)selection->seed);
    else
        vlmp_buffer_text(out, "tokens: all\nseed: none\n");
    vlmp_buffer_printf(out, "precision: %s\nkernels: %s\n", origin->bf16 ? "bf16" : "f32",
                       origin->kernels);
}

static void write_ids(const vlmp_calibration *calibration, bool loose, vlmp_json_writer *w)
{
    vlmp_json_open(w, '[');
    for (size_t i = 0; i < calibration->count; i++)
        vlmp_json_put_string(w,
                             loose ? calibration->samples[i].loose_id : calibration->samples[i].id);
    vlmp_json_close(w, ']');
}

/* The largest activation of the sites from *at on that are of the same component, and behind which
 * of them it stands. */
static void write_range(const vlmp_statistics *all, int *at, vlmp_json_writer *w)
{
    const vlmp_site_statistics *first = &all->sites[*at], *site = first;
    int length = (int)strcspn(first->name, ".");
    float max = -1;
    for (; *at < all->count && strncmp(all->sites[*at].name, first->name, (size_t)length + 1) == 0;
         (*at)++) {
        const vlmp_site_statistics *s = &all->sites[*at];
        for (int i = 0; i < VLMP_TOKEN_KINDS * s->dim; i++)
            if (s->max_abs[i] > max) max = s->max_abs[i], site = s;
    }
    char component[VLMP_NAME_MAX];
    snprintf(component, sizeof component, "%.*s", length, first->name);
    vlmp_json_open(w, '{');
    vlmp_json_pair_string(w, "component", component);
    vlmp_json_pair_string(w, "site", site->name);
    vlmp_json_pair_double(w, "max_abs", (double)max);
    vlmp_json_pair_int(w, "text_tokens", first->count[VLMP_TOKEN_TEXT]);
    vlmp_json_pair_int(w, "picture_tokens", first->count[VLMP_TOKEN_PICTURE]);
    vlmp_json_close(w, '}');
}

/* What the methods saw, and the range of what they saw. */
static void write_audit(const vlmp_quantize_origin *origin, vlmp_json_writer *w)
{
    const vlmp_selection *s = origin->selection;
    vlmp_json_pair_open(w, "calibration_audit", '{');
    vlmp_json_pair_int(w, "seen", s->seen_tokens);
    vlmp_json_pair_int(w, "held_out", s->held_tokens);
    vlmp_json_pair_int(w, "samples_seen", s->seen);
    vlmp_json_pair_int(w, "samples_held_out", s->held);
    vlmp_json_pair_open(w, "ranges", '[');
    for (int at = 0; at < origin->calibration->statistics.count;)
        write_range(&origin->calibration->statistics, &at, w);
    vlmp_json_close(w, ']');
    vlmp_json_close(w, '}');
}

void vlmp_quantize_provenance(const vlmp_quantize_origin *origin, vlmp_json_writer *w)
{
    const vlmp_selection *selection = origin->selection;
    bool computed = selection != NULL;
    vlmp_json_open(w, '{');
    vlmp_json_pair_string(w, "tool", "vlmpack " VLMP_VERSION);
    vlmp_json_pair_string(w, "source", origin->model->tensors);
    vlmp_json_pair_string(w, "calibration", computed ? origin->calibration_digest : NULL);
    vlmp_json_key(w, "calibration_samples");
    write_ids(origin->calibration, false, w);
    vlmp_json_key(w, "calibration_samples_loose");
    write_ids(origin->calibration, true, w);
    if (origin->calibration->alpha[0] != '\0')
        vlmp_json_pair_string(w, "calibration_alpha", origin->calibration->alpha);
    if (computed && selection->budget > 0) {
        vlmp_json_key(w, "tokens");
        vlmp_selection_write(selection, w);
    }
    vlmp_json_key(w, "sequential");
    vlmp_json_put_bool(w, origin->sequential);
    if (computed && origin->bf16) vlmp_json_pair_string(w, "precision", "bf16");
    vlmp_json_pair_string(w, "kernels", computed ? origin->kernels : NULL);
    if (computed) write_audit(origin, w);
    vlmp_json_close(w, '}');
}
