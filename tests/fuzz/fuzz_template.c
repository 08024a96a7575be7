/* A chat template, and a user's prompt behind a form feed: parsed and rendered twice. */
#include "src/text/template/chat_template.h"
#include "src/text/unicode/unicode.h"
#include "tests/fuzz/fuzz.h"

static void render(const vlmp_chat_template *t, const char *prompt, bool answered)
{
    const char *const turn[] = {VLMP_CHAT_PICTURE, prompt}, *const answer[] = {"Two cats."};
    const vlmp_chat_message messages[] = {{"user", turn, 2}, {"assistant", answer, 1}};
    static const vlmp_chat_variable variables[] = {{"bos_token", "<s>"}, {"eos_token", "</s>"}};
    static const struct tm date = {.tm_year = 124, .tm_mon = 6, .tm_mday = 26};
    const vlmp_chat chat = {messages, answered ? 2 : 1, !answered, variables, 2, &date};
    vlmp_buffer out = {0};
    vlmp_error err = {0};
    int status = vlmp_chat_template_render(t, &chat, &out, &err);
    if (fuzz_was_read(status, &err) && out.length > 0 &&
        vlmp_utf8_valid(out.data, out.length) != out.length)
        abort();
    vlmp_buffer_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t length, prompt_length;
    char *text = fuzz_text(&data, &size, &length);
    char *prompt = fuzz_text(&data, &size, &prompt_length);
    vlmp_chat_template *t;
    vlmp_error err = {0};
    if (fuzz_was_read(vlmp_chat_template_create(&t, text, length, "template", &err), &err)) {
        render(t, prompt, false);
        render(t, prompt, true);
        vlmp_chat_template_free(t);
    }
    free(text);
    free(prompt);
    return 0;
}
