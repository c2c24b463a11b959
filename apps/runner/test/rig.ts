/** A real runner on a real engine (Docker where there is one), between stand-ins for the services that it speaks with. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ContainerSpec } from '@berth/contracts/scheduler/v1/scheduler';
import { ContainerState } from '@berth/contracts/scheduler/v1/scheduler';
import { decodeLog, type LogMessage } from '@berth/events';
import type { RunningService } from '@berth/service-kit';
import { eventually, testBed, type TestBed } from '@berth/testing';
import { runner } from '../src/service';
import { StandInFunctions, StandInScheduler, StandInSync, TestFunction } from './stand-ins';

export const READY = ContainerState.CONTAINER_STATE_READY;
export const STOPPED = ContainerState.CONTAINER_STATE_STOPPED;
export const FAILED = ContainerState.CONTAINER_STATE_FAILED;

const hasDocker = Boolean(process.env.DOCKER_HOST) || existsSync('/var/run/docker.sock');

export class Rig implements AsyncDisposable {
  readonly logs: LogMessage[] = [];
  #runner: RunningService | undefined;

  private constructor(
    readonly bed: TestBed,
    readonly scheduler: StandInScheduler,
    readonly functions: StandInFunctions,
    readonly sync: StandInSync,
  ) {}

  static async open(): Promise<Rig> {
    const bed = await testBed();
    const rig = new Rig(bed, new StandInScheduler(bed), new StandInFunctions(), new StandInSync());
    await bed.start(rig.scheduler.module);
    await bed.start(rig.functions.module);
    await bed.start(rig.sync.module);
    bed.bus.nats.subscribe('berth.logs.>', {
      callback: (_, message) => void rig.logs.push(decodeLog(message)!),
    });
    rig.#runner = await bed.start(runner, {
      BERTH_ENGINE: hasDocker ? 'docker' : 'process',
      DOCKER_HOST: process.env.DOCKER_HOST,
    });
    return rig;
  }

  make(source: string | Record<string, string>, spec: Partial<ContainerSpec> = {}): TestFunction {
    return new TestFunction(this.bed, this.sync, source, spec);
  }

  /** A function of the files of an example. */
  example(name: string, spec: Partial<ContainerSpec>): TestFunction {
    const folder = join(__dirname, '../../../examples', name);
    const files = readdirSync(folder).filter((file) => /\.(py|ts|mjs)$/.test(file));
    return this.make(
      Object.fromEntries(files.map((file) => [file, readFileSync(join(folder, file), 'utf8')])),
      spec,
    );
  }

  /** A container of it that is ready; its id. */
  async container(made: TestFunction): Promise<string> {
    const { containerId } = await this.scheduler.assign(made.spec);
    await this.scheduler.reported(containerId, READY);
    return containerId;
  }

  async end(containerId: string): Promise<void> {
    await this.scheduler.forget(containerId);
    await this.scheduler.reported(containerId, STOPPED);
  }

  /** What a call printed, once it is at least `lines` lines. */
  printed(callId: string, lines: number): Promise<string[]> {
    return eventually(() => {
      const mine = this.logs.filter((line) => line.callId === callId).map(({ text }) => text);
      return mine.length >= lines && mine;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#runner?.[Symbol.asyncDispose]();
    await this.bed.close();
  }
}
