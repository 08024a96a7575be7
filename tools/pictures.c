#include "tools/pictures.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Index of the path, or of where it belongs. */
static size_t place_of(const vlmp_picture_reading *reading, const char *path, bool *found)
{
    size_t low = 0, high = reading->count;
    *found = false;
    while (low < high && !*found) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(path, reading->remarks[middle].path);
        *found = order == 0;
        if (order > 0)
            low = middle + 1;
        else
            high = middle;
    }
    return high;
}

static int remember(vlmp_picture_reading *r, const char *path, const vlmp_image_report *report,
                    vlmp_error *err)
{
    bool found, warned = report->warning[0] != '\0';
    if (!report->transparent && !warned) return VLMP_OK;
    size_t at = place_of(r, path, &found);
    if (found) return VLMP_OK;
    if (r->count == r->capacity) {
        size_t capacity = r->capacity == 0 ? 64 : 2 * r->capacity;
        vlmp_picture_remark *grown = realloc(r->remarks, capacity * sizeof *grown);
        if (grown == NULL) return vlmp_fail_memory(err, path);
        r->remarks = grown;
        r->capacity = capacity;
    }
    vlmp_picture_remark remark = {.path = strdup(path),
                                  .warning = warned ? strdup(report->warning) : NULL,
                                  .damaged = report->damaged,
                                  .transparent = report->transparent};
    if (remark.path == NULL || (warned && remark.warning == NULL)) {
        free(remark.path);
        free(remark.warning);
        return vlmp_fail_memory(err, path);
    }
    memmove(r->remarks + at + 1, r->remarks + at, (r->count - at) * sizeof *r->remarks);
    r->remarks[at] = remark;
    r->count++;
    r->damaged += report->damaged;
    r->transparent += report->transparent;
    return VLMP_OK;
}

int vlmp_picture_read(vlmp_image *out, const char *path, vlmp_picture_reading *reading,
                      vlmp_error *err)
{
    vlmp_image_report report;
    vlmp_image_options options = {.strict = reading->strict};
    vlmp_alpha_parse(&options.alpha, reading->alpha); /* one of the option's choices */
    VLMP_TRY(vlmp_image_load(out, path, &options, &report, err));
    int status = remember(reading, path, &report, err);
    if (status == VLMP_OK) return VLMP_OK;
    free(out->pixels);
    out->pixels = NULL;
    return status;
}

void vlmp_picture_reading_free(vlmp_picture_reading *reading)
{
    for (size_t i = 0; i < reading->count; i++) {
        free(reading->remarks[i].path);
        free(reading->remarks[i].warning);
    }
    free(reading->remarks);
    *reading = (vlmp_picture_reading)VLMP_PICTURE_READING_DEFAULT;
}

bool vlmp_picture_is_transparent(const vlmp_picture_reading *reading, const char *path)
{
    bool found;
    size_t at = place_of(reading, path, &found);
    return found && reading->remarks[at].transparent;
}

void vlmp_picture_remarks_write(vlmp_json_writer *w, const vlmp_picture_reading *reading)
{
    vlmp_json_open(w, '{');
    vlmp_json_key(w, "alpha");
    vlmp_json_put_string(w, reading->transparent > 0 ? reading->alpha : NULL);
    vlmp_json_key(w, "transparent");
    vlmp_json_put_int(w, (int64_t)reading->transparent);
    vlmp_json_key(w, "damaged");
    vlmp_json_put_int(w, (int64_t)reading->damaged);
    vlmp_json_key(w, "remarks");
    vlmp_json_open(w, '[');
    for (size_t i = 0; i < reading->count; i++) {
        if (reading->remarks[i].warning == NULL) continue;
        vlmp_json_open(w, '{');
        vlmp_json_key(w, "picture");
        vlmp_json_put_string(w, reading->remarks[i].path);
        vlmp_json_key(w, "remark");
        vlmp_json_put_string(w, reading->remarks[i].warning);
        vlmp_json_close(w, '}');
    }
    vlmp_json_close(w, ']');
    vlmp_json_close(w, '}');
}

void vlmp_picture_summary(const vlmp_picture_reading *reading, char *out, size_t size)
{
    const vlmp_picture_remark *first = NULL;
    size_t odd = 0;
    for (size_t i = 0; i < reading->count; i++) {
        if (reading->remarks[i].warning == NULL) continue;
        if (first == NULL) first = &reading->remarks[i];
        odd++;
    }
    size_t used = 0;
    out[0] = '\0';
    if (reading->transparent > 0)
        used += (size_t)snprintf(out, size, "%zu transparent (--alpha %s)%s", reading->transparent,
                                 reading->alpha, first != NULL ? ", " : "");
    if (first != NULL && used < size)
        snprintf(out + used, size - used,
                 "%zu damaged but readable, %zu otherwise odd (first: %s: %s)", reading->damaged,
                 odd - reading->damaged, first->path, first->warning);
}
