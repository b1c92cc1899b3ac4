#!/usr/bin/env python3
"""A manual page from a program's own --help, so that the page cannot say something else.

usage: man.py PROGRAM VERSION "one line summary" > PAGE
The help text is: a usage line, paragraphs, sections ending in ':', lines of the form "  --option  text".
"""
import re
import subprocess
import sys


def escape(text):
    text = text.replace("\\", "\\\\").replace("-", "\\-")
    return re.sub(r"^([.'])", r"\\&\1", text)


def option_line(line):
    """("--name ARG", "text") of an option line."""
    match = re.match(r" {2}(-\S.*?)(?: {2,}(.*))?$", line)
    return match and (match.group(1), match.group(2) or "")


def command_line(line):
    return re.match(r" {2}(?! )(\S.*)$", line)


def body(lines):
    for line in lines:
        option, command = option_line(line), command_line(line)
        if option:
            yield f".TP\n\\fB{escape(option[0])}\\fR\n{escape(option[1])}"
        elif command:
            yield f".TP\n\\fB{escape(command.group(1))}\\fR"
        elif line.endswith(":") and not line.startswith(" "):
            yield f".SH {escape(line[:-1].upper())}"
        elif not line.strip():
            yield ".PP"
        else:
            yield escape(line.strip())


def main():
    program, version, summary = sys.argv[1:]
    name = program.rsplit("/", 1)[-1]
    text = subprocess.run([program, "--help"], capture_output=True, text=True, check=True).stdout
    usage, *rest = text.splitlines()
    print(f'.TH {name.upper()} 8 "" "mortar {version}" "mortar"')
    print(f".SH NAME\n{name} \\- {escape(summary)}")
    print(f".SH SYNOPSIS\n{escape(re.sub('^usage: ', '', usage, flags=re.I))}\n.SH DESCRIPTION")
    print("\n".join(body(rest)))


if __name__ == "__main__":
    main()
