/**
 * The Jupyter kernel: `kernel.js CONNECTION_FILE`. This process owns the sockets and answers at once; user code runs in
 * a child (`runner/main.ts`), which may spin, crash or be replaced without the kernel going away.
 */
import { readFileSync } from 'node:fs';
import { enableCompileCache } from 'node:module';
import { z } from 'zod';
import { packageVersion } from '../home.ts';
import { loadCompiler } from './compile.ts';
import { Execution } from './execution.ts';
import { History, historyRequest } from './history.ts';
import { languageAnswers } from './language-requests.ts';
import { LanguageService } from './language-service.ts';
import { watchParent } from './parent.ts';
import { KernelSockets, type Content, type Request } from './sockets.ts';
import { connectionInfo, JUPYTER_PROTOCOL } from './wire.ts';

function log(message: string): void {
  process.stderr.write(`[gpt-lab kernel] ${message}\n`);
}

// Loads the compiler, which is large, in half the time from the second start on.
enableCompileCache();

const file = process.argv[2];
if (file === undefined) {
  log('usage: kernel.js CONNECTION_FILE (front ends start it: `gpt-lab kernel install`)');
  process.exit(2);
}

const connection = connectionInfo.parse(JSON.parse(readFileSync(file, 'utf8')));
const sockets = new KernelSockets(connection, {
  request: (request) => serve(request),
  inputReply: (message) => execution.takeInput(message),
  log,
});
const history = new History();
const language = new LanguageService(log);
const execution = new Execution(sockets, history, {
  executing: (code) => language.executed(code),
  forgotten: () => language.forget(),
  log,
});

const kernelInfo: Content = {
  status: 'ok',
  protocol_version: JUPYTER_PROTOCOL,
  implementation: 'gpt-lab',
  implementation_version: packageVersion(),
  banner: `GPT Lab ${packageVersion()}: TypeScript on Node ${process.version}`,
  help_links: [],
  supported_features: [],
  language_info: {
    name: 'typescript',
    version: '6.0',
    mimetype: 'text/typescript',
    file_extension: '.ts',
    codemirror_mode: { name: 'javascript', typescript: true },
    pygments_lexer: 'typescript',
  },
};

/** What each request is answered with; execute requests are not here, since they wait for one another. */
const answers: Record<string, (request: Request) => Content | Promise<Content> | undefined> = {
  kernel_info_request: () => kernelInfo,
  ...languageAnswers(language, (expression) => execution.members(expression)),
  is_complete_request: async ({ content }) => {
    const { completeness } = await import('./completeness.ts');
    return { ...completeness(String(content['code'])) };
  },
  history_request: ({ content }) => ({
    status: 'ok',
    history: history.find(historyRequest.parse(content)),
  }),
  comm_info_request: () => ({ status: 'ok', comms: {} }),
  // There is nothing here to talk to: the other side shall not wait.
  comm_open: ({ header, content }) => {
    sockets.publish('comm_close', { comm_id: content['comm_id'], data: {} }, header);
    return undefined;
  },
  comm_msg: () => undefined,
  comm_close: () => undefined,
  interrupt_request: () => {
    execution.interrupt();
    return { status: 'ok' };
  },
  shutdown_request: ({ content }) => ({ status: 'ok', restart: content['restart'] === true }),
};

/** Execute requests run one after the other; everything else is answered at once, also while a cell runs. */
function serve(request: Request): void {
  if (request.header.msg_type === 'execute_request')
    execution.queue(request, async (execute) => {
      await respond(request, execute);
      // Somebody who can be asked will type; a notebook that runs unattended needs no completions.
      if (request.content['allow_stdin'] === true) language.warm();
    });
  else void respond(request, () => answers[request.header.msg_type]?.(request));
}

/** Answers one request, between the `busy` and the `idle` that clients wait for. */
async function respond(
  request: Request,
  answer: () => Content | Promise<Content> | undefined,
): Promise<void> {
  const { header } = request;
  sockets.publish('status', { execution_state: 'busy' }, header);
  try {
    const content = await answer();
    if (content) sockets.reply(request, content);
    else if (!(header.msg_type in answers)) log(`Ignored a ${header.msg_type}`);
  } catch (error) {
    log(`${header.msg_type} failed: ${error instanceof Error ? String(error.stack) : String(error)}`);
    const evalue =
      error instanceof z.ZodError
        ? z.prettifyError(error)
        : error instanceof Error
          ? error.message
          : String(error);
    sockets.reply(request, { status: 'error', ename: 'KernelError', evalue, traceback: [evalue] });
  }
  sockets.publish('status', { execution_state: 'idle' }, header);
  // Front ends show the newest state, and the cell goes on.
  const running = execution.running;
  if (running) sockets.publish('status', { execution_state: 'busy' }, running.header);
  if (header.msg_type === 'shutdown_request') await shutdown();
  else void loadCompiler();
}

async function shutdown(): Promise<void> {
  execution.end();
  language.end();
  await sockets.close();
  process.exit(0);
}

await sockets.open();
sockets.publish('status', { execution_state: 'starting' }, undefined);
execution.start();

watchParent(() => void shutdown());
process.on('SIGINT', () => execution.interrupt());
process.on('SIGTERM', () => void shutdown());
