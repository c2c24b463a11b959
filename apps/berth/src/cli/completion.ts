import type { Command } from 'commander';

/** Words that complete each command, by the words before: taken from the program itself, so they cannot drift. */
function vocabulary(command: Command, path: string[] = []): Map<string, string[]> {
  const words = [
    ...command.commands.map((each) => each.name()),
    ...command.options.flatMap((option) => [option.long, option.short].filter((word) => word !== undefined)),
  ];
  const found = new Map([[path.join(' '), words]]);
  for (const sub of command.commands) {
    for (const [key, value] of vocabulary(sub, [...path, sub.name()])) found.set(key, value);
  }
  return found;
}

/** A completion script for bash or zsh. */
export function completionScript(shell: string, program: Command): string {
  if (shell !== 'bash' && shell !== 'zsh')
    throw new Error(`There is completion for bash and zsh, not for ${shell}.`);
  const cases = [...vocabulary(program)]
    .map(([path, words]) => `    "${path}") words="${words.join(' ')}" ;;`)
    .join('\n');
  const script = `_berth() {
  local words path="" word
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$word" in -*) ;; *) path="\${path:+$path }$word" ;; esac
  done
  case "$path" in
${cases}
    *) words="" ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}"))
  [ \${#COMPREPLY[@]} -gt 0 ] || COMPREPLY=($(compgen -f -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -F _berth berth`;
  return shell === 'bash' ? script : `autoload -U +X bashcompinit && bashcompinit\n${script}`;
}
