/** What a command of `gpt-lab` is. */
import { describeOptions, parseArguments } from './arguments.ts';
import type { OptionSpecs, OptionValues, PositionalNames } from './arguments.ts';

/** Exit statuses; the README tells them to users. */
export const EXIT = { done: 0, failed: 1, usage: 2, stopped: 130 } as const;

/** One command, its options hidden inside. */
export interface Command {
  /** One or two words, e.g. `train`, `daemon status`. */
  readonly name: string;
  readonly summary: string;
  /** Left out of the list of commands. */
  readonly hidden?: true;
  readonly help: () => string;
  /** Runs the command on what follows its name; resolves to the exit status. */
  readonly execute: (argv: readonly string[]) => Promise<number>;
}

const COMMON = {
  json: { type: 'flag', help: 'print one JSON object a line on stdout and nothing else there' },
  help: { type: 'flag', help: 'show this help' },
} as const satisfies OptionSpecs;

/** Makes a command; `--json` and `--help` come with every one. */
export function defineCommand<const O extends OptionSpecs>(definition: {
  name: string;
  summary: string;
  /** Paragraphs of the help below the options. */
  notes?: string;
  hidden?: true;
  positionals?: PositionalNames;
  options: O;
  run: (input: { values: OptionValues<O & typeof COMMON>; positionals: string[] }) => Promise<number>;
}): Command {
  const { name, summary, notes, positionals = [], run } = definition;
  const options = { ...definition.options, ...COMMON };
  const help = (): string => {
    const required = Object.entries(definition.options)
      .filter(([, spec]) => spec.required)
      .map(([option, spec]) => `--${option} ${spec.value ?? 'VALUE'}`);
    const taken = positionals.map((one) => (one.endsWith('?') ? `[${one.slice(0, -1)}]` : one));
    return [
      `${summary}.\n`,
      `Usage: ${['gpt-lab', name, ...taken, ...required, '[options]'].join(' ')}\n`,
      `Options:\n${describeOptions(options)}`,
      ...(notes ? [`\n${notes}`] : []),
    ].join('\n');
  };
  return {
    name,
    summary,
    ...(definition.hidden ? { hidden: true } : {}),
    help,
    async execute(argv) {
      const end = argv.indexOf('--');
      if ((end < 0 ? argv : argv.slice(0, end)).includes('--help')) {
        process.stdout.write(`${help()}\n`);
        return EXIT.done;
      }
      return run(parseArguments(argv, options, positionals));
    },
  };
}

/** A line for people on stdout. */
export function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** One JSON object on a line of its own on stdout. */
export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

/** A line for people on stderr, which leaves stdout to results. */
export function note(line: string): void {
  process.stderr.write(`${line}\n`);
}
