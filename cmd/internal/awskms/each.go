package awskms

import (
	"context"
	"sync"
)

// Each calls do for 0 to n-1, at most parallel at once, and returns when all have. After ctx is over it starts no more.
func Each(ctx context.Context, parallel, n int, do func(ctx context.Context, i int)) {
	next := make(chan int)
	var workers sync.WaitGroup
	for range min(max(parallel, 1), n) {
		workers.Go(func() {
			for i := range next {
				do(ctx, i)
			}
		})
	}
	for i := range n {
		select {
		case next <- i:
			continue
		case <-ctx.Done():
		}
		break
	}
	close(next)
	workers.Wait()
}
