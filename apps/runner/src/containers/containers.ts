import type { InvocationError } from '@berth/contracts/functions/v1/functions';
import { ContainerState, type Assignment, type Device } from '@berth/contracts/scheduler/v1/scheduler';
import type { NodeFile } from '../node/node-file';
import { Container, type ContainerTools } from './container';

/** The containers of this process: those that live, and those that ended and are still listed somewhere. */
export class Containers {
  #alive = new Map<string, Container>();
  #ended = new Set<string>();

  constructor(
    private readonly tools: ContainerTools,
    private readonly node: NodeFile,
    /** The node now serves one organization only. */
    private readonly onDedicated: () => void,
  ) {}

  get alive(): ReadonlySet<string> {
    return new Set(this.#alive.keys());
  }

  get ended(): ReadonlySet<string> {
    return this.#ended;
  }

  get(containerId: string): Container | undefined {
    return this.#alive.get(containerId);
  }

  list(): Container[] {
    return [...this.#alive.values()];
  }

  /** Those that live and have one of these cards: a card serves one container at a time. */
  holdersOf(devices: readonly Device[]): Container[] {
    const wanted = new Set(devices.map(({ index }) => index));
    return this.list().filter((container) => container.devices.some(({ index }) => wanted.has(index)));
  }

  begin(assignment: Assignment): void {
    const { containerId, spec } = assignment;
    if (!spec || !/^[\w-]+$/.test(containerId)) return;
    if (!this.#mayServe(spec.organizationId)) {
      const message =
        'This node runs without isolation and serves one organization only: install Docker on it to serve more.';
      this.report(containerId, ContainerState.CONTAINER_STATE_FAILED, {
        type: 'infrastructure',
        message,
        traceback: undefined,
      });
      return;
    }
    const container = new Container(this.tools, assignment);
    this.#alive.set(containerId, container);
    void container.ended.then(() => {
      this.#alive.delete(containerId);
      this.#ended.add(containerId);
    });
  }

  /** The last word about a container that never began here. */
  report(containerId: string, state: ContainerState, error?: InvocationError): void {
    this.#ended.add(containerId);
    void this.tools.reporter.report({ containerId, state, phases: [], error });
  }

  forget(containerId: string): void {
    this.#ended.delete(containerId);
  }

  /** An input is not wanted any more, wherever it runs. */
  cancel(inputId: string, attempt?: number): void {
    for (const container of this.#alive.values()) container.cancel(inputId, attempt);
  }

  /** Lets what runs finish for `graceMs`, then ends what is left. Resolves when nothing is left that can be ended. */
  async endAll(graceMs: number): Promise<void> {
    const all = this.list();
    for (const container of all) container.drain();
    const ended = Promise.all(all.map((container) => container.ended));
    const late = setTimeout(() => all.forEach((container) => container.leave()), graceMs);
    await ended;
    clearTimeout(late);
  }

  /** Without isolation every process sees the others' files: one organization is all that may meet there. */
  #mayServe(organizationId: string): boolean {
    if (this.tools.engine.isolated) return true;
    if (!this.node.organizationId) {
      this.node.organizationId = organizationId;
      this.node.save();
      this.onDedicated();
    }
    return this.node.organizationId === organizationId;
  }
}
