/** Starts training runs. */
import type { RunConfiguration } from '../protocol/configuration.ts';
import { ask } from './connection.ts';
import { withoutConfig } from './follow.ts';
import { host } from './host.ts';
import { Run } from './run.ts';
import { withSettings } from './settings.ts';

/**
 * Starts a training run in the daemon and returns once it has started; `await run.finished` waits for its end.
 * Everything that is left out has a default; relative paths start from the notebook's folder.
 *
 * @example
 * const run = await train({ model: gpt2('nano'), data: text('data/moby-dick.txt'), training: { steps: 300 } });
 * run.plot();
 * await run.finished;
 *
 * @throws {LabError} with one line per problem when the configuration is not valid.
 */
export async function train(config: RunConfiguration): Promise<Run> {
  const { cwd, notebook } = host();
  const changed = withSettings(config);
  return ask(async (client) => {
    const { run } = await client.request('run.start', {
      config: changed,
      baseDirectory: cwd,
      ...(notebook === undefined ? {} : { source: notebook }),
    });
    return new Run(withoutConfig(await client.request('run.show', { run })));
  });
}
