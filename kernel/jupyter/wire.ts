/** Jupyter's wire protocol: frames, signatures, typed messages (jupyter_client's messaging specification, 5.5). */
import { createHmac, randomUUID, timingSafeEqual } from 'node:crypto';
import { z } from 'zod';

/** Version of the protocol that we speak. */
export const JUPYTER_PROTOCOL = '5.5';

const DELIMITER = '<IDS|MSG>';

/** The connection file, as Jupyter writes it. */
export const connectionInfo = z.object({
  transport: z.enum(['tcp', 'ipc']),
  ip: z.string(),
  shell_port: z.int(),
  iopub_port: z.int(),
  stdin_port: z.int(),
  control_port: z.int(),
  hb_port: z.int(),
  key: z.string(),
  signature_scheme: z.literal('hmac-sha256'),
});
export type ConnectionInfo = z.infer<typeof connectionInfo>;

const headerSchema = z.looseObject({
  msg_id: z.string(),
  msg_type: z.string(),
  session: z.string(),
  username: z.string().optional(),
  date: z.string().optional(),
  version: z.string().optional(),
});
export type Header = z.infer<typeof headerSchema>;

/** A message of any type. `parent_header` is empty where there is no parent. */
export interface JupyterMessage {
  readonly header: Header;
  readonly parent_header: Readonly<Record<string, unknown>>;
  readonly metadata: Record<string, unknown>;
  readonly content: Record<string, unknown>;
}

/** A message with the frames that say whom it came from. */
export interface ReceivedMessage extends JupyterMessage {
  readonly identities: readonly Buffer[];
}

const record = z.record(z.string(), z.unknown());

function sign(key: string, frames: readonly (string | Buffer)[]): string {
  if (key === '') return '';
  const hmac = createHmac('sha256', key);
  for (const frame of frames) hmac.update(frame);
  return hmac.digest('hex');
}

/** The frames of a message after its identities (or its topic). */
export function encode(key: string, message: JupyterMessage): string[] {
  const parts = [message.header, message.parent_header, message.metadata, message.content].map((part) =>
    JSON.stringify(part),
  );
  return [DELIMITER, sign(key, parts), ...parts];
}

/** Reads frames. Throws an Error that says what is wrong; the signature is verified before anything is parsed. */
export function decode(key: string, frames: readonly Buffer[]): ReceivedMessage {
  const start = frames.findIndex((frame) => frame.toString() === DELIMITER);
  if (start < 0) throw new Error(`A message without ${DELIMITER}`);
  const [signature, ...rest] = frames.slice(start + 1);
  const parts = rest.slice(0, 4);
  if (signature === undefined || parts.length < 4) throw new Error('A message of too few frames');
  if (key !== '') {
    const expected = Buffer.from(sign(key, parts));
    if (signature.length !== expected.length || !timingSafeEqual(signature, expected)) {
      throw new Error('A message with a wrong signature');
    }
  }
  const [header, parent, metadata, content] = parts.map((part) => JSON.parse(part.toString()) as unknown);
  return {
    identities: frames.slice(0, start),
    header: headerSchema.parse(header),
    parent_header: record.parse(parent),
    metadata: record.parse(metadata),
    content: record.parse(content),
  };
}

/** A new message of a session. */
export function compose(
  session: string,
  type: string,
  content: Record<string, unknown>,
  parent: Readonly<Record<string, unknown>> = {},
  metadata: Record<string, unknown> = {},
): JupyterMessage {
  const header: Header = {
    msg_id: randomUUID(),
    msg_type: type,
    session,
    username: 'gpt-lab',
    date: new Date().toISOString(),
    version: JUPYTER_PROTOCOL,
  };
  return { header, parent_header: parent, metadata, content };
}
