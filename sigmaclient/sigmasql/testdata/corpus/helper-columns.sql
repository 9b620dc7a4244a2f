select ORDER_ID "Order Id", IF_3 "__cond_1" from (select ORDER_ID, iff(AMOUNT > 10, 1, 0) IF_3 from SHOP.SALES.ORDERS ORDERS limit 1000) Q1 limit 1000

-- Sigma Σ {"request-id":"5f0c1d6e-1f2a-4b7c-9d11-000000000001","email":"ana.lima@example.com"}