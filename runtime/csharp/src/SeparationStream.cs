using System;

namespace TisdissRt
{
    /// <summary>Live sound, opened by <see cref="Separator.OpenStream"/>. Not thread-safe.</summary>
    /// <remarks>The methods throw <see cref="TisdissException"/>.</remarks>
    public sealed class Stream : IDisposable
    {
        private readonly StreamHandle handle;
        private readonly int sources;

        internal Stream(StreamHandle handle, int sources)
        {
            this.handle = handle;
            this.sources = sources;
        }

        /// <summary>What happened since the beginning or the last reset.</summary>
        public Report Report
        {
            get
            {
                var report = new Native.Report { size = Native.Size<Native.Report>() };
                Check(Native.tisdiss_stream_get_report(handle, ref report));
                return new Report(report);
            }
        }

        /// <summary>Returns how many samples of each voice <see cref="Process(float[])"/> will return.</summary>
        public int Ready(int samples) => (int)Native.tisdiss_stream_ready(handle, (UIntPtr)samples);

        /// <summary>Pushes a chunk of any length; returns the output that is ready, an array for each voice.</summary>
        public float[][] Process(float[] chunk)
        {
            chunk = chunk ?? throw new ArgumentNullException(nameof(chunk));
            int ready = Ready(chunk.Length);
            var flat = new float[checked(sources * ready)];
            Process(chunk, chunk.Length, flat);
            return Native.Rows(flat, sources, ready);
        }

        /// <summary>Does the same without allocating arrays.</summary>
        /// <param name="chunk">The sound.</param>
        /// <param name="samples">Number of its samples to use.</param>
        /// <param name="rows">Receives a row of equal length for each voice, of at least Ready(samples).</param>
        /// <returns>Number of samples written to each row.</returns>
        public int Process(float[] chunk, int samples, float[] rows)
        {
            chunk = chunk ?? throw new ArgumentNullException(nameof(chunk));
            rows = rows ?? throw new ArgumentNullException(nameof(rows));
            if (samples < 0 || samples > chunk.Length)
            {
                throw new ArgumentOutOfRangeException(nameof(samples));
            }
            var capacity = (UIntPtr)(rows.Length / sources);
            Check(Native.tisdiss_stream_process(handle, chunk, (UIntPtr)samples, rows, capacity, out UIntPtr given));
            return (int)given;
        }

        /// <summary>Ends the stream; returns the rest: the whole output is as long as the whole input.</summary>
        public float[][] Flush()
        {
            UIntPtr rest = Native.tisdiss_stream_rest(handle);
            var flat = new float[checked(sources * (int)rest)];
            Check(Native.tisdiss_stream_flush(handle, flat, rest, out UIntPtr _));
            return Native.Rows(flat, sources, (int)rest);
        }

        /// <summary>Begins anew, as if just opened, but keeps what was measured about the machine's speed.</summary>
        public void Reset() => Check(Native.tisdiss_stream_reset(handle));

        /// <summary>Sets the depth of later steps, up to the depth that the stream was opened with.</summary>
        public void SetDepth(int depth) => Check(Native.tisdiss_stream_set_depth(handle, depth));

        /// <summary>Frees the stream.</summary>
        public void Dispose() => handle.Dispose();

        private void Check(Status status)
        {
            if (status != Status.Ok)
            {
                var error = new TisdissException(status, Native.tisdiss_stream_error_text(handle));
                GC.KeepAlive(handle); // whose text it was
                throw error;
            }
        }
    }
}
