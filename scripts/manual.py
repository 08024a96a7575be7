#!/usr/bin/env python3
"""Makes a program's manual page (scdoc's source) and completions from its table of options.

    scripts/manual.py PROGRAM PROSE.scd COMMON.scd FOLDER

Into FOLDER: NAME.1.scd, and completions for bash (NAME), zsh (_NAME) and fish (NAME.fish). PROSE holds
what a table cannot say; its line "@OPTIONS@" says where the options go. COMMON ends every page.
"""
import json
import os
import subprocess
import sys

# What a placeholder in --help stands for; anything else is a path, which shells complete.
NO_PATHS = ("BITS", "DATE", "DEV", "EXPR", "FD", "LINEAR", "LIST", "M", "N", "NAME", "ORG/NAME", "SIZE", "SPEC", "T", "URI", "URL", "WxH")
PROGRAMS = ("vlm-calibrate", "vlm-doctor", "vlm-eval", "vlm-export", "vlm-inspect", "vlm-plan", "vlm-quantize", "vlm-run")


def completed(option):
    """What completes a value: words, "files" or nothing."""
    if option["kind"] == "choice":
        return option["choices"].split("|")
    if option["name"] == "device":
        return ["auto", "cpu", "cuda"]
    return "files" if option["kind"] == "text" and option["value"] not in NO_PATHS else None


def said(option):
    """The help of an option, as vlmp_cli_help says it."""
    return (option["help"] + (" (required)" if option["required"] else "") +
            ("; may be repeated" if option["repeated"] else ""))


def dashed(option):
    return (["-" + option["letter"]] if option["letter"] else []) + ["--" + option["name"]]


# --- manual page


def plain(text):
    """Text that scdoc prints as it stands."""
    return "".join("\\" + c if c in "\\_*[]|#`~<>" else c for c in text)


def page_options(title, options):
    lines = ["# " + title, ""]
    for option in options:
        value = " _%s_" % plain(option["value"]) if option["value"] else ""
        lines += [", ".join("*%s*" % plain(name) for name in dashed(option)) + value,
                  "\t" + plain(said(option)), ""]
    return lines


def page(table, prose, common):
    lines = ['%s(1) "vlmpack %s" "vlmpack"' % (table["name"], table["version"]), "",
             "# NAME", "", "%s - %s" % (table["name"], plain(table["summary"].rstrip("."))), "", "# SYNOPSIS", ""]
    for number, usage in enumerate(table["usage"].split("\n")):
        usage = usage.strip()
        if number > 0:
            usage = usage[len(table["name"]):].strip()
        lines += ["*%s* %s" % (table["name"], plain(usage)), ""]
    for line in prose.split("\n"):
        if line != "@OPTIONS@":
            lines.append(line)
            continue
        if table["notes"]:
            lines += [plain(table["notes"]), ""]
        if table["options"]:
            lines += page_options("OPTIONS", table["options"])
        lines += page_options("COMMON OPTIONS", table["common"])
    lines += ["# EXAMPLES", "", "With the demo model, in the source tree:", "", "```",
              *table["examples"].split("\n"), "```", "", common, "# SEE ALSO", "",
              ", ".join("*%s*(1)" % name for name in PROGRAMS if name != table["name"])]
    return "\n".join(lines) + "\n"


# --- completions


def quoted(text):
    return "'" + text.replace("'", "'\\''") + "'"


def bash(table, options):
    function = "_" + table["name"].replace("-", "_")
    lines = ["# bash completion of %s, made from its table of options" % table["name"], function + "() {",
             "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}",
             "    # --option=value comes as three words",
             "    if [[ $cur == = ]]; then cur=; elif [[ $prev == = ]]; then prev=${COMP_WORDS[COMP_CWORD - 2]}; fi",
             "    COMPREPLY=()", "    case $prev in"]
    for option in options:
        if option["kind"] == "flag":
            continue
        values = completed(option)
        # files are bash's own default
        what = ("" if values == "files" else "compopt +o default 2>/dev/null; " if values is None else
                "mapfile -t COMPREPLY < <(compgen -W %s -- \"$cur\"); " % quoted(" ".join(values)))
        lines.append("    %s) %sreturn ;;" % (" | ".join(dashed(option)), what))
    words = " ".join("--" + option["name"] for option in options)
    lines += ["    esac", "    if [[ $cur == -* ]]; then",
              "        mapfile -t COMPREPLY < <(compgen -W %s -- \"$cur\")" % quoted(words), "    fi", "}",
              "complete -o default -F %s %s" % (function, table["name"])]
    return "\n".join(lines) + "\n"


def zsh(table, options):
    lines = ["#compdef " + table["name"], "# made from the table of options", "", "_arguments -s \\"]
    for option in options:
        names = dashed(option)
        text = said(option)
        for special in "\\[]:":
            text = text.replace(special, "\\" + special)
        action = ""
        if option["kind"] != "flag":
            values = completed(option)
            action = ":%s:%s" % (option["value"].replace(":", "\\:"), "_files" if values == "files" else
                                 "" if values is None else "(%s)" % " ".join(values))
        repeated = "*" if option["repeated"] or option["name"] == "verbose" else ""
        for name in names:
            other = "" if repeated or len(names) == 1 else "(%s)" % " ".join(names)
            joined = "" if option["kind"] == "flag" else "=" if name.startswith("--") else "+"
            lines.append("    %s \\" % quoted("%s%s%s%s[%s]%s" % (other, repeated, name, joined, text, action)))
    lines.append("    '*:file:_files'")
    return "\n".join(lines) + "\n"


def fish(table, options):
    lines = ["# fish completion of %s, made from its table of options" % table["name"]]
    for option in options:
        values = None if option["kind"] == "flag" else completed(option)
        parts = ["complete", "-c", table["name"]]
        parts += ["-s", option["letter"]] if option["letter"] else []
        parts += ["-l", option["name"]]
        if option["kind"] != "flag":
            parts += ["-r"] if values == "files" else ["-x"]
            parts += ["-a", "'%s'" % " ".join(values)] if isinstance(values, list) else []
        # fish knows two escapes between quotes
        help_text = said(option).replace("\\", "\\\\").replace("'", "\\'")
        lines.append(" ".join(parts + ["-d", "'%s'" % help_text]))
    return "\n".join(lines) + "\n"


def main():
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    program, prose, common, folder = sys.argv[1:]
    table = json.loads(subprocess.run([program, "--dump-options"], stdout=subprocess.PIPE, check=True).stdout)
    texts = []
    for path in (prose, common):
        with open(path, encoding="utf-8") as file:
            texts.append(file.read())
    options = table["options"] + table["common"]
    name = table["name"]
    for path, text in ((name + ".1.scd", page(table, *texts)), (name, bash(table, options)),
                       ("_" + name, zsh(table, options)), (name + ".fish", fish(table, options))):
        with open(os.path.join(folder, path), "w", encoding="utf-8") as file:
            file.write(text)


if __name__ == "__main__":
    main()
