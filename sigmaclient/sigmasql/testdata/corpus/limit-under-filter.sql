select ORDER_ID "Order Id" from (select ORDER_ID from (select ORDER_ID, STATUS from SHOP.SALES.ORDERS ORDERS limit 1000) Q1 where STATUS = 'open') Q2 limit 1000

-- Sigma Σ {"request-id":"5f0c1d6e-1f2a-4b7c-9d11-000000000001","email":"ana.lima@example.com"}