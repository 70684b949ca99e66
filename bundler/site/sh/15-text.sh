# Words and quoting. A list of words is text with one word a line, each behind `=` so that an empty word is seen.

# Splits as upstream's installer splits INSTALL_K3S_EXEC: at blanks, with quotes that group; nothing else is special.
split_words() ( # TEXT
  rest=$1
  word=
  begun=
  quote=
  while [ -n "$rest" ]; do
    character=${rest%"${rest#?}"}
    rest=${rest#?}
    if [ -n "$quote" ]; then
      if [ "$character" = "$quote" ]; then quote=; else word=$word$character; fi
      continue
    fi
    case $character in
      \' | \") quote=$character begun=yes ;;
      ' ' | '	' | "$newline")
        [ -z "$begun" ] || printf '=%s\n' "$word"
        word=
        begun=
        ;;
      *) word=$word$character begun=yes ;;
    esac
  done
  [ -z "$quote" ] || fail $exit_usage unbalanced-quote "INSTALL_K3S_EXEC has a $quote that is never closed" \
    'quotes in INSTALL_K3S_EXEC group words and must come in pairs'
  [ -z "$begun" ] || printf '=%s\n' "$word"
)

is_plain() { # WORD: nothing in it needs quoting anywhere
  case $1 in
    '' | *[!A-Za-z0-9_./:=,@+-]*) return 1 ;;
  esac
}

# systemd.service(5), "Command lines": `%` and `$` are special inside quotes too.
unit_word() { # WORD
  if is_plain "$1"; then
    printf '%s' "$1"
  else
    printf '"%s"' "$(printf '%s\n' "$1" | sed 's/\\/\\\\/g; s/"/\\"/g; s/%/%%/g; s/\$/$$/g')"
  fi
}

shell_word() { # WORD
  if is_plain "$1"; then
    printf '%s' "$1"
  else
    printf "'%s'" "$(printf '%s\n' "$1" | sed "s/'/'\\\\''/g")"
  fi
}

# Inside double quotes the shell and systemd.exec(5) "EnvironmentFile=" agree on what a backslash protects.
double_quoted() { # TEXT
  printf '"%s"' "$(printf '%s\n' "$1" | sed 's/[\\"$`]/\\&/g')"
}

has_line() { # LIST LINE
  case $newline$1$newline in
    *"$newline$2$newline"*) ;;
    *) return 1 ;;
  esac
}

# The value of the last `KEY=` line; a line of its own for each when there are several.
values_of() { # KEY FILE
  while IFS= read -r values_line || [ -n "$values_line" ]; do
    case $values_line in
      "$1="*) printf '%s\n' "${values_line#*=}" ;;
    esac
  done <"$2"
}
