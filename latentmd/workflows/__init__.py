"""What the commands do, callable from Python: simulate, md, evaluate, benchmark, latents."""
