/* Renders chat templates from standard input, for scripts/parity-templates.py.
 * In: u32 length, bytes of a template; again and again. Out, for each: u32 status, u32 length and
 * bytes of the text or of the message. The messages, two turns, are those of the script. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/text/template/chat_template.h"

static void put(uint32_t status, const char *text, size_t length)
{
    uint32_t head[2] = {status, (uint32_t)length};
    fwrite(head, sizeof head, 1, stdout);
    fwrite(text, 1, length, stdout);
}

static void render(const char *source, size_t length)
{
    static const char *const question[] = {VLMP_CHAT_PICTURE, "What is this?"};
    static const char *const answer[] = {"A Cat \xc3\x89."};
    static const vlmp_chat_message messages[] = {{"user", question, 2}, {"assistant", answer, 1}};
    static const vlmp_chat_variable variables[] = {{"bos_token", "<s>"}, {"eos_token", "</s>"}};
    static const struct tm date = {.tm_year = 124,
                                   .tm_mon = 6,
                                   .tm_mday = 26,
                                   .tm_hour = 9,
                                   .tm_min = 5,
                                   .tm_wday = 5,
                                   .tm_yday = 207};
    const vlmp_chat chat = {messages, 2, true, variables, 2, &date};
    vlmp_chat_template *t;
    vlmp_buffer out = {0};
    vlmp_error err = {0};
    int status = vlmp_chat_template_create(&t, source, length, "template", &err);
    if (status == 0) status = vlmp_chat_template_render(t, &chat, &out, &err);
    if (status == 0)
        put(0, out.length > 0 ? out.data : "", out.length);
    else
        put((uint32_t)status, err.message, strlen(err.message));
    vlmp_chat_template_free(t);
    vlmp_buffer_free(&out);
}

int main(void)
{
    uint32_t length;
    while (fread(&length, sizeof length, 1, stdin) == 1) {
        char *source = malloc((size_t)length + 1);
        if (source == NULL || fread(source, 1, length, stdin) != length) return 1;
        render(source, length);
        free(source);
    }
    return 0;
}
