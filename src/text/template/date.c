/* strftime_now: the date is given, so that a prompt does not change with the day. */
#include <string.h>

#include "src/text/template/jinja.h"

#define MAX_DATE 1000 /* bytes */

/* One conversion that depends neither on the machine's place nor on its clock. */
static int convert(vlmp_jinja_context *c, const vlmp_jinja_node *node, const char *conversion,
                   size_t length, vlmp_buffer *out)
{
    static const char known[] = "aAbBcCdDeFgGhHIjklmMnprRStTuUVwWxXyY%";
    char text[200], format[8] = {0};
    char letter = conversion[length - 1];
    if (letter == 'f') {
        vlmp_buffer_text(out, "000000");
        return VLMP_OK;
    }
    if (letter == 'z' || letter == 'Z') return VLMP_OK; /* a date without a zone */
    if (strchr(known, letter) == NULL)
        return vlmp_jinja_fail(c, node, "strftime_now with '%%%c' is not supported", letter);
    memcpy(format, conversion, length);
    vlmp_buffer_append(out, text, strftime(text, sizeof text, format, c->date));
    return VLMP_OK;
}

int vlmp_jinja_date(vlmp_jinja_context *c, const vlmp_jinja_node *node, vlmp_jinja_text format,
                    vlmp_jinja_value *out)
{
    vlmp_buffer text = {0};
    int status = VLMP_OK;
    if (c->date == NULL)
        return vlmp_jinja_fail(
            c, node,
            "strftime_now makes the prompt change with the day; say with --date which "
            "day it is");
    if (format.length > MAX_DATE) return vlmp_jinja_fail(c, node, "strftime_now of a text so long");
    for (size_t at = 0; at < format.length && status == VLMP_OK;) {
        if (format.text[at] != '%') {
            vlmp_buffer_append(&text, format.text + at++, 1);
            continue;
        }
        size_t end = at + 1;
        if (end < format.length && format.text[end] == '-') end++; /* without padding */
        if (end >= format.length || format.text[end] == '\0')
            status =
                vlmp_jinja_fail(c, node, "strftime_now with a '%%' at the end is not supported");
        else
            status = convert(c, node, format.text + at, end + 1 - at, &text);
        at = end + 1;
    }
    return vlmp_jinja_from_buffer(c, node, &text, status, out);
}
