/* vlm-inspect: what is in a packed file, a model folder or another safetensors file. */
#include <stdio.h>
#include <string.h>

#include "formats/packed.h"
#include "formats/weight_sizes.h"
#include "src/base/json.h"
#include "src/base/packed_parts.h"
#include "src/model/names.h"
#include "src/store/finite.h"
#include "tools/cli.h"
#include "tools/inspect.h"
#include "tools/inspect_diff.h"
#include "tools/inspect_explain.h"
#include "tools/interrupt.h"
#include "tools/opening.h"
#include "tools/progress.h"
#include "tools/terminal.h"

struct options {
    bool verify, summary;
    const char *explain; /* a linear; NULL */
    const char *diff;    /* another model; NULL */
    vlmp_opener opener;
};

static const char *const note_keys[] = {"import", "recipe", "provenance", "decisions", "fates"};

/* The scheme of the quantized linear that tensor is a part of, or NULL. */
static const vlmp_scheme *scheme_of(const vlmp_source *source, const vlmp_tensor *tensor)
{
    char stem[1100];
    snprintf(stem, sizeof stem, "%.*s", (int)vlmp_name_stem(tensor->name), tensor->name);
    const char *leaf = tensor->name + strlen(stem);
    bool part = vlmp_packed_part_of(leaf) != VLMP_PACKED_PARTS;
    return part ? source->scheme(source, stem) : NULL;
}

static bool add_size(vlmp_listing *rows, const char *name, const vlmp_weight_size *size)
{
    char text[32];
    bool good = vlmp_listing_add(rows, 0, name);
    snprintf(text, sizeof text, "%llu", (unsigned long long)size->weights);
    good = good && vlmp_listing_add(rows, 1, text);
    vlmp_format_bytes(text, sizeof text, (double)size->bytes);
    good = good && vlmp_listing_add(rows, 2, text);
    text[0] = '\0';
    if (size->weights > 0)
        snprintf(text, sizeof text, "%.3f", vlmp_bits_per_weight(size->bytes, size->weights));
    good = good && vlmp_listing_add(rows, 3, text);
    text[0] = '\0';
    if (size->quantized_weights > 0)
        snprintf(text, sizeof text, "%.3f",
                 vlmp_bits_per_weight(size->quantized_bytes, size->quantized_weights));
    return good && vlmp_listing_add(rows, 4, text);
}

static int print_sizes(const vlmp_source *source, vlmp_error *err)
{
    vlmp_column columns[] = {{"component", false, 0},
                             {"weights", true, 0},
                             {"bytes", true, 0},
                             {"bits/weight", true, 0},
                             {"quantized only", true, 0}};
    vlmp_weight_sizes sizes;
    vlmp_weight_sizes_of(source, &sizes);
    vlmp_listing rows = {.columns = 5};
    bool good = true;
    for (int i = 0; i < VLMP_COMPONENTS; i++)
        good = good && add_size(&rows, vlmp_component_name((vlmp_component)i), &sizes.parts[i]);
    good = good && add_size(&rows, "all", &sizes.total);
    VLMP_TRY(vlmp_listing_print(&rows, columns, !good, err));
    if (sizes.unused_bytes > 0) {
        char text[32];
        vlmp_format_bytes(text, sizeof text, (double)sizes.unused_bytes);
        printf("%s more in tensors that the model never reads\n", text);
    }
    return VLMP_OK;
}

static int print_tensors(const vlmp_source *source, vlmp_error *err)
{
    vlmp_column columns[] = {{"tensor", false, 0}, {"type", false, 0},   {"shape", true, 0},
                             {"bytes", true, 0},   {"scheme", false, 0}, {"source", false, 0}};
    vlmp_listing rows = {.columns = 6};
    bool good = true;
    for (size_t i = 0; i < source->count(source) && good; i++) {
        const vlmp_tensor *t = source->at(source, i);
        const vlmp_scheme *scheme = scheme_of(source, t);
        char text[160];
        good = vlmp_listing_add(&rows, 0, t->name) &&
               vlmp_listing_add(&rows, 1, vlmp_dtype_name(t->dtype));
        vlmp_shape_text(text, sizeof text, t->shape, t->rank);
        good = good && vlmp_listing_add(&rows, 2, text);
        snprintf(text, sizeof text, "%zu", t->bytes);
        good = good && vlmp_listing_add(&rows, 3, text);
        text[0] = '\0';
        if (scheme != NULL) vlmp_listing_scheme(text, sizeof text, scheme);
        good = good && vlmp_listing_add(&rows, 4, t->unused ? "unused" : text);
        good = good && vlmp_listing_add(&rows, 5, t->source_name);
    }
    return vlmp_listing_print(&rows, columns, !good, err);
}

static int print_notes(const vlmp_source *source, vlmp_error *err)
{
    for (size_t i = 0; i < 3; i++) { /* decisions are long; --json has them */
        char key[32];
        size_t length;
        snprintf(key, sizeof key, "vlmp.%s", note_keys[i]);
        const char *text = vlmp_packed_note(source, key, &length);
        if (text == NULL) continue;
        vlmp_json_writer w = {.indent = 2};
        vlmp_put_json_text(&w, text, length);
        bool failed = w.out.failed;
        if (!failed) printf("\n%s:\n%s\n", note_keys[i], w.out.data);
        vlmp_buffer_free(&w.out);
        if (failed) return vlmp_fail_memory(err, "metadata");
    }
    return VLMP_OK;
}

static int print_text(const vlmp_source *source, const struct options *o, vlmp_error *err)
{
    bool packed = strcmp(source->kind, "packed") == 0;
    if (source->imported != NULL)
        vlmp_show_line(stdout, "%s: %s, %s", source->path,
                       source->named_by != NULL ? "model files" : "model folder", source->imported);
    else
        vlmp_show_line(stdout, "%s: %s", source->path,
                       packed ? "packed model, version 1" : "model folder");
    if (source->digest != NULL) vlmp_show_line(stdout, "digest %s", source->digest);
    if (o->verify)
        puts(source->imported != NULL
                 ? "verified: the structure is sound, scales and weights are finite (the folder "
                   "carries no hashes)"
             : packed
                 ? "verified: every hash matches"
                 : "verified: the structure is sound, all weights are finite (a folder carries no "
                   "hashes)");
    putchar('\n');
    VLMP_TRY(print_sizes(source, err));
    if (packed) VLMP_TRY(print_notes(source, err));
    fputs("\nfiles:", stdout);
    const char *name;
    for (size_t i = 0; (name = source->file_at(source, i)) != NULL; i++) {
        putchar(' ');
        vlmp_show(stdout, VLMP_ESCAPE_LINE, name, strlen(name));
    }
    putchar('\n');
    if (o->summary) return VLMP_OK;
    putchar('\n');
    return print_tensors(source, err);
}

static void put_size(vlmp_json_writer *w, const vlmp_weight_size *size)
{
    vlmp_json_open(w, '{');
    vlmp_json_key(w, "weights");
    vlmp_json_put_int(w, (int64_t)size->weights);
    vlmp_json_key(w, "bytes");
    vlmp_json_put_int(w, (int64_t)size->bytes);
    vlmp_json_key(w, "bits_per_weight");
    vlmp_json_put_double(w, vlmp_bits_per_weight(size->bytes, size->weights));
    vlmp_json_key(w, "bits_per_weight_quantized");
    vlmp_json_put_double(w, vlmp_bits_per_weight(size->quantized_bytes, size->quantized_weights));
    vlmp_json_close(w, '}');
}

static void put_tensor(vlmp_json_writer *w, const vlmp_source *source, const vlmp_tensor *t)
{
    const vlmp_scheme *scheme = scheme_of(source, t);
    vlmp_json_open(w, '{');
    vlmp_json_key(w, "name");
    vlmp_json_put_string(w, t->name);
    vlmp_json_key(w, "source");
    vlmp_json_put_string(w, t->source_name);
    vlmp_json_key(w, "file");
    vlmp_json_put_string(w, t->file);
    vlmp_json_key(w, "offset");
    vlmp_json_put_int(w, (int64_t)t->file_offset);
    vlmp_json_key(w, "bytes");
    vlmp_json_put_int(w, (int64_t)t->bytes);
    vlmp_json_key(w, "dtype");
    vlmp_json_put_string(w, vlmp_dtype_name(t->dtype));
    vlmp_json_key(w, "shape");
    vlmp_json_open(w, '[');
    for (int i = 0; i < t->rank; i++)
        vlmp_json_put_int(w, t->shape[i]);
    vlmp_json_close(w, ']');
    vlmp_json_key(w, "unused");
    vlmp_json_put_bool(w, t->unused);
    if (scheme != NULL) {
        if (vlmp_code_types[scheme->codes].name != NULL)
            vlmp_json_pair_string(w, "codes", vlmp_code_types[scheme->codes].name);
        vlmp_json_key(w, "bits");
        vlmp_json_put_int(w, vlmp_code_types[scheme->codes].bits);
        vlmp_json_key(w, "group");
        vlmp_json_put_int(w, scheme->group);
        vlmp_json_key(w, "symmetric");
        vlmp_json_put_bool(w, scheme->zeros == VLMP_ZEROS_NONE);
        vlmp_json_key(w, "activations");
        vlmp_json_put_string(w, scheme->int8_activations ? "int8" : "float");
    }
    vlmp_json_close(w, '}');
}

static void put_lists(vlmp_json_writer *w, const vlmp_source *source, const struct options *o)
{
    size_t length;
    const char *name;
    vlmp_json_key(w, "files");
    vlmp_json_open(w, '[');
    for (size_t i = 0; (name = source->file_at(source, i)) != NULL; i++) {
        vlmp_json_open(w, '{');
        vlmp_json_key(w, "name");
        vlmp_json_put_string(w, name);
        vlmp_json_key(w, "bytes");
        source->file(source, name, &length);
        vlmp_json_put_int(w, (int64_t)length);
        vlmp_json_close(w, '}');
    }
    vlmp_json_close(w, ']');
    if (o->summary) return;
    vlmp_json_key(w, "tensors");
    vlmp_json_open(w, '[');
    for (size_t i = 0; i < source->count(source); i++)
        put_tensor(w, source, source->at(source, i));
    vlmp_json_close(w, ']');
}

static int print_json(const vlmp_source *source, const struct options *o, vlmp_error *err)
{
    bool packed = strcmp(source->kind, "packed") == 0;
    vlmp_weight_sizes sizes;
    vlmp_weight_sizes_of(source, &sizes);
    vlmp_json_writer w = {.indent = 1};
    vlmp_json_open(&w, '{');
    vlmp_json_key(&w, "schema");
    vlmp_json_put_int(&w, 1);
    vlmp_json_key(&w, "path");
    vlmp_json_put_string(&w, source->path);
    vlmp_json_key(&w, "kind");
    vlmp_json_put_string(&w, source->kind);
    vlmp_json_pair_string(&w, "imported", source->imported);
    vlmp_json_key(&w, "digest");
    vlmp_json_put_string(&w, source->digest);
    vlmp_json_key(&w, "verified");
    vlmp_json_put_bool(&w, o->verify && packed && source->imported == NULL);
    vlmp_json_key(&w, "all");
    put_size(&w, &sizes.total);
    vlmp_json_key(&w, "components");
    vlmp_json_open(&w, '{');
    for (int i = 0; i < VLMP_COMPONENTS; i++) {
        vlmp_json_key(&w, vlmp_component_name((vlmp_component)i));
        put_size(&w, &sizes.parts[i]);
    }
    vlmp_json_close(&w, '}');
    vlmp_json_key(&w, "unused_bytes");
    vlmp_json_put_int(&w, (int64_t)sizes.unused_bytes);
    for (size_t i = 0; packed && i < sizeof note_keys / sizeof *note_keys; i++) {
        char key[32];
        size_t length;
        snprintf(key, sizeof key, "vlmp.%s", note_keys[i]);
        const char *text = vlmp_packed_note(source, key, &length);
        vlmp_json_key(&w, note_keys[i]);
        if (text == NULL)
            vlmp_json_put_null(&w);
        else
            vlmp_put_json_text(&w, text, length);
    }
    put_lists(&w, source, o);
    vlmp_json_close(&w, '}');
    int status = w.out.failed ? vlmp_fail_memory(err, "listing") : VLMP_OK;
    if (status == VLMP_OK) puts(w.out.data);
    vlmp_buffer_free(&w.out);
    return status;
}

static int verify(vlmp_source *source, const vlmp_cli_args *args, vlmp_error *err)
{
    char digest[65];
    if (strcmp(source->kind, "packed") != 0) {
        VLMP_TRY(source->digest_now(source, digest, err));
        return vlmp_source_check_finite(source, NULL, NULL, err);
    }
    uint64_t bytes = 0;
    for (size_t i = 0; i < source->count(source); i++)
        bytes += source->at(source, i)->bytes;
    vlmp_progress progress;
    vlmp_progress_begin_bytes(&progress, args, "checking", (double)bytes);
    int status = vlmp_packed_verify(source, vlmp_verify_progress, &progress, err);
    vlmp_progress_end(&progress);
    return status;
}

static int diff(const vlmp_source *source, struct options *o, const vlmp_cli_args *args,
                vlmp_error *err)
{
    vlmp_source *other;
    VLMP_TRY(vlmp_opener_open(&o->opener, &other, o->diff, err));
    int status = o->verify ? verify(other, args, err) : VLMP_OK;
    if (status == VLMP_OK) status = vlmp_inspect_diff(source, other, args->json, err);
    vlmp_opener_close(&o->opener, other);
    return status;
}

static int inspect(const vlmp_cli_args *args, struct options *o, vlmp_error *err)
{
    vlmp_source *source;
    const char *path = args->positionals[0];
    bool other;
    const char *models[] = {path, o->diff};
    VLMP_TRY(vlmp_opener_check(&o->opener, models, o->diff != NULL ? 2 : 1, err));
    VLMP_TRY(vlmp_is_other_file(&other, path, err));
    if (other && (o->explain != NULL || o->diff != NULL))
        return vlmp_fail(err, VLMP_ERR_USAGE, "--%s: %s holds no model; give a packed file",
                         o->explain != NULL ? "explain" : "diff", path);
    if (other) return vlmp_inspect_other(path, args, o->verify, err);
    VLMP_TRY(vlmp_opener_open(&o->opener, &source, path, err));
    int status = o->verify ? verify(source, args, err) : VLMP_OK;
    if (status == VLMP_OK && o->explain != NULL)
        status = vlmp_inspect_explain(source, o->explain, args->json, err);
    else if (status == VLMP_OK && o->diff != NULL)
        status = diff(source, o, args, err);
    else if (status == VLMP_OK)
        status = args->json ? print_json(source, o, err) : print_text(source, o, err);
    vlmp_opener_close(&o->opener, source);
    vlmp_opener_free(&o->opener);
    return status;
}

int main(int argc, char **argv)
{
    struct options opt = {.opener = VLMP_OPENER_DEFAULT};
    const vlmp_cli_option options[] = {
        {"verify", 0, NULL, "read everything and check every hash, also of OTHER",
         .flag = &opt.verify},
        {"summary", 0, NULL, "leave out the list of tensors", .flag = &opt.summary},
        {"explain", 0, "LINEAR", "say of one linear how it is stored, and why",
         .string = &opt.explain},
        {"diff", 0, "OTHER", "say in what another model differs from this one",
         .string = &opt.diff},
        VLMP_OPENER_OPTIONS(&opt.opener),
        {0}};
    const vlmp_cli_command command = {
        .name = "vlm-inspect",
        .summary =
            "Shows what is in a packed model, a model folder, a calibration or reference file.",
        .usage = "FILE-or-DIR [options]",
        .positional = "FILE-or-DIR",
        .min_positionals = 1,
        .max_positionals = 1,
        .options = options,
        .computes_nothing = true,
        .notes = "Bits per weight are 8 × the bytes of codes, scales, zeros and kept weights over "
                 "the number of weights, over all tensors that the model uses.",
        .examples = "vlm-inspect gptq.vlmp --verify\n"
                    "vlm-inspect gptq.vlmp --explain text.layers.3.mlp.down\n"
                    "vlm-inspect gptq.vlmp --diff int8.vlmp"};
    vlmp_cli_args args;
    if (!vlmp_cli_begin(&command, argc, argv, &args)) return args.exit_code;
    vlmp_interrupt_install();
    vlmp_error err = {0};
    static const char *const either[] = {"explain", "diff", "summary", NULL};
    int status = vlmp_cli_exclusive(&command, &args, either, &err);
    if (status == VLMP_OK) status = inspect(&args, &opt, &err);
    return vlmp_cli_finish(&command, &args, status, &err);
}
